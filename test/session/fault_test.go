package session

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"fleetssh"
	"fleetssh/internal/fleettest"
	"fleetssh/internal/simfleet"
)

// TestFaults has one host fail in each phase beside a good one. Each gets its own outcome, and
// the good one does not wait for a bad one to time out.
func TestFaults(t *testing.T) {
	t.Parallel()
	kind := func(k simfleet.FaultKind) func(*simfleet.Host) { return func(h *simfleet.Host) { h.Fault.Kind = k } }
	const exec = "lines 50; sleep 0.05"
	tests := []struct {
		name    string
		host    func(*simfleet.Host)
		config  func(*fleetssh.HostConfig)
		command fleetssh.Command
		want    string // outcome and phase; "|" separates alternatives
		good    string // outcome of the good host, if not "exited 0"
		err     string // type of the error
	}{
		{name: "no banner", host: kind(simfleet.SilentAccept), want: "unreachable handshake", err: "*fleetssh.TimeoutError"},
		{name: "reset on accept", host: kind(simfleet.ResetAccept), want: "unreachable connect|unreachable handshake", err: "*fleetssh.ConnectionError"},
		{name: "garbage for a banner", host: kind(simfleet.GarbageVersion), want: "unreachable handshake"},
		{name: "endless banner", host: kind(simfleet.LongVersion), want: "unreachable handshake"},
		{name: "banner in drips", host: func(h *simfleet.Host) { h.Fault = simfleet.Fault{Kind: simfleet.DripVersion, Interval: time.Second} }, want: "unreachable handshake", err: "*fleetssh.TimeoutError"},
		{name: "stall in key exchange", host: kind(simfleet.StallKex), want: "unreachable handshake", err: "*fleetssh.TimeoutError"},
		{name: "stall in auth", host: kind(simfleet.StallAuth), want: "unreachable auth", err: "*fleetssh.TimeoutError"},
		{name: "wrong login", host: func(h *simfleet.Host) { h.AuthorizedKeys = nil; h.Password = "x" }, want: "unreachable auth", err: "*fleetssh.AuthenticationError"},
		{name: "changed host key", config: func(h *fleetssh.HostConfig) { h.HostKeys = expectsKeyOf(fleettest.NewServer(t, nil)) }, want: "unreachable host_key", err: "*fleetssh.HostKeyError"},
		{name: "closed port", config: func(h *fleetssh.HostConfig) { h.Port = fleettest.ClosedPort(t) }, want: "unreachable connect", err: "*fleetssh.ConnectionError"},
		{name: "no such name", config: func(h *fleetssh.HostConfig) { h.Host = "no-such-host.invalid" }, want: "unreachable resolve", err: "*fleetssh.UnknownHostError"},
		{name: "key file missing", config: func(h *fleetssh.HostConfig) { h.Auth = fleetssh.Auth{KeyFile: "/no/such/key"} }, want: "not_started auth", err: "*fleetssh.PKeyFileError"},
		{name: "session refused", host: kind(simfleet.RefuseOpen), want: "not_started open", err: "*fleetssh.SessionError"},
		{name: "no answer to open", host: kind(simfleet.StallOpen), want: "not_started open", err: "*fleetssh.TimeoutError"},
		{name: "terminal refused", host: kind(simfleet.RefusePTY), command: fleetssh.Command{PTY: &fleetssh.PTY{}}, want: "not_started pty", err: "*fleetssh.SessionError"},
		{name: "command refused", host: kind(simfleet.RefuseExec), want: "not_started exec", err: "*fleetssh.SessionError"},
		{name: "no answer to exec", host: kind(simfleet.StallExec), want: "lost", err: "*fleetssh.TimeoutError"},
		{name: "no status", host: kind(simfleet.CloseWithoutStatus), want: "lost", err: "*fleetssh.ConnectionError"},
		{name: "cut in the middle of output", host: func(h *simfleet.Host) { h.Fault = simfleet.Fault{Kind: simfleet.CutAfter, Bytes: 100} }, want: "lost", err: "*fleetssh.ConnectionError"},
		{name: "dead after the start", host: kind(simfleet.StallAfterStart), command: fleetssh.Command{Timeout: fleettest.Lapse}, want: "timed_out", err: "*fleetssh.TimeoutError"},
		{name: "status long after EOF", host: func(h *simfleet.Host) {
			h.Fault = simfleet.Fault{Kind: simfleet.EOFBeforeStatus, Interval: 300 * time.Millisecond}
		}, command: fleetssh.Command{Line: "exit 7"}, want: "exited 7", good: "exited 7", err: "*fleetssh.ExitError"},
		{name: "exit by signal", command: fleetssh.Command{Line: "kill -9 $$"}, want: "signaled KILL", good: "signaled KILL", err: "*fleetssh.ExitError"},
		{name: "output in drips", host: func(h *simfleet.Host) {
			h.Fault = simfleet.Fault{Kind: simfleet.DripOutput, Interval: time.Millisecond}
		}, command: fleetssh.Command{Line: "echo drip"}, want: "exited 0"},
	}
	all := fleettest.Together{T: t}
	defer all.Wait()
	for _, test := range tests {
		all.Run(test.name, func(t *testing.T) {
			if test.command.Line == "" {
				test.command.Line = exec
			}
			if test.good == "" {
				test.good = "exited 0"
			}
			// On a busy machine the good host, and the phases before a time-out, may take
			// longer.
			limit := fleettest.Lapse
			for {
				good := fleettest.NewServer(t, nil).Config()
				bad := fleettest.NewServer(t, test.host).Config()
				bad.ConnectTimeout = limit
				if test.config != nil {
					test.config(&bad)
				}
				if test.command.Timeout > 0 {
					test.command.Timeout = limit
				}
				outs, first := both(t, fleettest.NewFleet(t, bad, good), test.command)
				err := outs[0].WaitFinished(t.Context())
				wrong := ""
				if got := howEnded(outs[1]); got != test.good || first != 1 && test.err == "*fleetssh.TimeoutError" {
					wrong += fmt.Sprintf("the good host: %q, want %q; host %d finished first\n", got, test.good, first)
				}
				if got := howEnded(outs[0]); !slices.Contains(strings.Split(test.want, "|"), got) {
					wrong += fmt.Sprintf("outcome %q, want %q (%v)\n", got, test.want, err)
				}
				if typ := fmt.Sprintf("%T", err); test.err != "" && typ != test.err {
					wrong += fmt.Sprintf("error is a %s (%v), want a %s\n", typ, err, test.err)
				}
				if limit *= 3; wrong == "" || limit > fleettest.Patience {
					if wrong != "" {
						t.Error(wrong)
					}
					return
				}
			}
		})
	}
}

// both runs a command on two hosts and returns which of them finished first.
func both(t testing.TB, p *fleetssh.ParallelClient, cmd fleetssh.Command) (outs [2]*fleetssh.HostOutput, first int) {
	t.Helper()
	events, err := p.Stream(fleettest.Soon(t), cmd)
	if err != nil {
		t.Fatal(err)
	}
	first = -1
	for ev := range events {
		if ev.Kind != fleetssh.Finished {
			continue
		}
		if outs[ev.Index] != nil {
			t.Errorf("host %d finished twice", ev.Index)
		}
		if outs[ev.Index] = ev.Output; first < 0 {
			first = ev.Index
		}
	}
	if outs[0] == nil || outs[1] == nil {
		t.Fatal("a host has not finished")
	}
	return outs, first
}

// howEnded describes the outcome: its kind, and its phase, code or signal.
func howEnded(out *fleetssh.HostOutput) string {
	o := out.Outcome()
	if o.Kind == fleetssh.Exited {
		return fmt.Sprintf("exited %d", o.ExitCode)
	}
	return strings.TrimSpace(fmt.Sprintf("%v %s%s", o.Kind, o.Phase, o.Signal))
}

// expectsKeyOf returns a policy that expects the key of s from every host.
func expectsKeyOf(s fleettest.Server) fleetssh.HostKeyPolicy {
	return wrongKey{s.HostKeys()[0], s.KnownHosts()}
}

// wrongKey is a policy that expects the key want from every host.
type wrongKey struct {
	want ssh.PublicKey
	fleetssh.HostKeyPolicy
}

func (w wrongKey) Check(host string, port int, key ssh.PublicKey) error {
	if string(key.Marshal()) != string(w.want.Marshal()) {
		return errors.New("changed")
	}
	return nil
}

// TestRetry checks which failures are retried.
func TestRetry(t *testing.T) {
	t.Parallel()
	t.Run("dropped as by MaxStartups", func(t *testing.T) {
		t.Parallel()
		s := fleettest.NewServer(t, func(h *simfleet.Host) { h.DropFirst = 2 })
		host := s.Config()
		host.Attempts = 3
		c, err := fleetssh.Dial(t.Context(), host)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if n := c.Timing().Attempts; n != 3 {
			t.Errorf("%d attempts in Timing", n)
		}
	})
	t.Run("refused connection", func(t *testing.T) {
		t.Parallel()
		host := fleettest.NewServer(t, nil).Config()
		host.Port, host.Attempts = fleettest.ClosedPort(t), 4
		_, err := fleetssh.Dial(t.Context(), host)
		if e, ok := errors.AsType[*fleetssh.ConnectionError](err); !ok || e.Attempts != 4 || e.Port != host.Port {
			t.Errorf("%v", err)
		}
	})
	t.Run("refused password", func(t *testing.T) {
		t.Parallel()
		s := fleettest.NewServer(t, func(h *simfleet.Host) { h.Password = "right" })
		host := s.Config()
		host.Attempts = 3
		host.Auth = fleetssh.Auth{Password: "wrong", NoAgent: true, NoDefaultKeys: true}
		_, err := fleetssh.Dial(t.Context(), host)
		if e, ok := errors.AsType[*fleetssh.AuthenticationError](err); !ok || len(e.Tried) != 1 || e.User != "alice" {
			t.Errorf("%v", err)
		}
		failures := s.Stats().AuthFailures
		if n := failures["password"] + failures["keyboard-interactive"]; n != 1 {
			t.Errorf("the client sent the wrong password %d times", n)
		}
	})
	t.Run("wrong host key", func(t *testing.T) {
		t.Parallel()
		s, other := fleettest.NewServer(t, nil), fleettest.NewServer(t, nil)
		host := s.Config()
		host.Attempts, host.HostKeys = 3, other.KnownHosts()
		_, err := fleetssh.Dial(t.Context(), host)
		if _, ok := errors.AsType[*fleetssh.HostKeyError](err); !ok {
			t.Errorf("%v", err)
		}
		if n := s.Stats().Connections; n != 1 {
			t.Errorf("%d connections", n)
		}
	})
	t.Run("cancelled between attempts", func(t *testing.T) {
		t.Parallel()
		host := fleettest.NewServer(t, nil).Config()
		host.Port, host.Attempts, host.RetryDelay = fleettest.ClosedPort(t), 2, time.Hour
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		_, err := fleetssh.Dial(ctx, host)
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
	})
}

// Silent hosts do not delay a working host that comes after them.
func TestSilentHostsDelayNoOthers(t *testing.T) {
	t.Parallel()
	s := fleettest.Faulty(t, simfleet.SilentAccept)
	silent := s.Config()
	silent.ConnectTimeout = 2 * fleettest.Patience
	var hosts []fleetssh.HostConfig
	for range 50 {
		hosts = append(hosts, silent)
	}
	hosts = append(hosts, fleettest.NewServer(t, nil).Config())
	p := fleettest.NewFleet(t, hosts...)
	events, err := p.Stream(fleettest.Soon(t), fleetssh.Command{Line: "true"})
	if err != nil {
		t.Fatal(err)
	}
	finished, first := 0, -1
	for ev := range events {
		if ev.Kind != fleetssh.Finished {
			continue
		}
		if finished++; first < 0 {
			first = ev.Index
			s.Server.Close() // the silent hosts end only now
		}
	}
	fleettest.Equal(t, "first", first, 50)
	fleettest.Equal(t, "finished", finished, 51)
}

func TestKeepAlive(t *testing.T) {
	t.Parallel()
	t.Run("a host that answers keeps its connection", func(t *testing.T) {
		t.Parallel()
		s := fleettest.NewServer(t, nil)
		host := s.Config()
		host.KeepAlive = 2 * time.Second // a busy machine answers within three intervals
		c, err := fleetssh.Dial(t.Context(), host)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		fleettest.Eventually(t, "four probes", func() bool { return s.Stats().GlobalReqs >= 4 })
		if out, err := c.Output(t.Context(), "echo alive"); err != nil || string(out) != "alive\n" {
			t.Errorf("%q, %v", out, err)
		}
	})
	t.Run("a dead connection is found and replaced", func(t *testing.T) {
		t.Parallel()
		s := fleettest.Faulty(t, simfleet.NoKeepAliveReply)
		host := s.Config()
		host.KeepAlive = 2 * time.Second // the next connection has to answer
		p := fleettest.NewFleet(t, host)
		outs, err := p.RunCommand(t.Context(), fleetssh.Command{Line: "sleep 1000"})
		if err != nil {
			t.Fatal(err)
		}
		err = p.Join(t.Context(), outs)
		if o := outs[0].Outcome(); o.Kind != fleetssh.Lost {
			t.Errorf("%v, %v", o, err)
		}
		s.SetFault(simfleet.Fault{})
		outs, err = p.RunCommand(t.Context(), fleetssh.Command{Line: "echo again"})
		if err != nil || fleettest.Text(t, outs[0].Stdout) != "again\n" {
			t.Errorf("after the loss: %v", err)
		}
	})
	t.Run("a cut connection is replaced by the next call", func(t *testing.T) {
		t.Parallel()
		s := fleettest.NewServer(t, nil)
		p := fleettest.NewFleet(t, s.Config())
		for range 3 {
			outs, err := p.RunCommand(t.Context(), fleetssh.Command{Line: "true"})
			if err != nil {
				t.Fatal(err)
			}
			if err := p.Join(t.Context(), outs); err != nil {
				t.Fatal(err)
			}
			s.Drop()
		}
		if n := s.Stats().Logins; n != 3 {
			t.Errorf("%d logins", n)
		}
	})
}
