package session

import (
	"errors"
	"testing"

	"fleetssh"
	"fleetssh/internal/fleettest"
	"fleetssh/internal/simfleet"
)

// An unusable host, or a host behind an unusable hop, is never contacted and does not affect the
// others, whatever the operation.
func TestUnusable(t *testing.T) {
	t.Parallel()
	fleet, hosts := fleettest.Simulated(t, 3, func(int, *simfleet.Host) {})
	why := errors.New("its configuration says so")
	hop := hosts[2]
	hop.Unusable = why
	hosts[0].Unusable, hosts[0].Host = why, "no name, at all" // its other settings are not checked
	hosts[2].Proxy, hosts[2].DialContext = &hop, nil
	p := fleettest.NewFleet(t, hosts...)
	outs, err := p.RunCommand(t.Context(), fleetssh.Command{Line: "true"})
	fleettest.AsError[*fleetssh.HostsError](t, err)
	for _, i := range []int{0, 2} {
		want := fleetssh.Outcome{Kind: fleetssh.NotStarted, Phase: "config"}
		if !errors.Is(outs[i].Err, why) || outs[i].Outcome() != want {
			t.Errorf("host %d: %+v, %v", i, outs[i].Outcome(), outs[i].Err)
		}
		if _, err := p.Client(t.Context(), i); !errors.Is(err, why) {
			t.Errorf("client: %v", err)
		}
		if _, err := fleetssh.Dial(t.Context(), hosts[i]); !errors.Is(err, why) {
			t.Errorf("dial: %v", err)
		}
	}
	fleettest.AsError[*fleetssh.HostsError](t, p.Join(t.Context(), outs))
	if o := outs[1].Outcome(); o != (fleetssh.Outcome{Kind: fleetssh.Exited}) {
		t.Errorf("the usable host: %+v", o)
	}
	shown, err := p.ScanHostKeys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for s := range shown {
		if (s.Err != nil) != (s.Index != 1) || s.Index != 1 && !errors.Is(s.Err, why) {
			t.Errorf("scan of host %d: %v", s.Index, s.Err)
		}
	}
	if got := fleet.Servers[0].Stats().Connections + fleet.Servers[2].Stats().Connections; got != 0 {
		t.Errorf("%d connections", got)
	}
}

// TestChannelWithoutSession: the channels of a command that could not be started and of a line of a
// console can be used like any other. Nothing can be started on them.
func TestChannelWithoutSession(t *testing.T) {
	t.Parallel()
	_, hosts := fleettest.Simulated(t, 2, func(int, *simfleet.Host) {})
	hosts[0].Unusable = errors.New("its configuration says so")
	p := fleettest.NewFleet(t, hosts...)
	outs, _ := p.RunCommand(t.Context(), fleetssh.Command{Line: "true"})
	client, err := p.Client(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	console, err := client.OpenConsole(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer console.Close(t.Context())
	line, err := console.Run(t.Context(), fleetssh.ConsoleLine{Text: "true"})
	if err != nil {
		t.Fatal(err)
	}
	for name, ch := range map[string]*fleetssh.Channel{"failed": outs[0].Channel, "line": line.Channel} {
		for step, err := range map[string]error{
			"pty":       ch.RequestPTY(t.Context(), fleetssh.PTY{}),
			"exec":      ch.Exec(t.Context(), "true"),
			"shell":     ch.Shell(t.Context()),
			"subsystem": ch.Subsystem(t.Context(), "sftp"),
		} {
			if e := fleettest.AsError[*fleetssh.SessionError](t, err); string(e.Phase) != step {
				t.Errorf("%s, %s: %v", name, step, err)
			}
		}
		if ch.Resize(24, 80) == nil {
			t.Errorf("%s: resized", name)
		}
		if err := ch.Close(); err != nil {
			t.Errorf("%s: close: %v", name, err)
		}
		ch.WaitFinished(t.Context())
		if err := ch.Stop(t.Context()); err != nil || !ch.Finished() {
			t.Errorf("%s: stop: %v", name, err)
		}
	}
	if o := line.Outcome(); !o.OK() {
		t.Errorf("line: %v", o)
	}
}
