package presence

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"fleetssh"
	"fleetssh/internal/simfleet"
)

// patience is how long a test waits for what must happen.
const patience = 3 * time.Minute

// fleetOf starts hosts and returns a client for them. change may change a host before it starts.
func fleetOf(t *testing.T, n int, change func(i int, h *simfleet.Host)) ([]*simfleet.Server, *Watch) {
	t.Helper()
	fleet, err := simfleet.StartFleet(n, 0, func(i int, h *simfleet.Host) {
		h.Password, h.RebootTime = "secret", 50*time.Millisecond
		if change != nil {
			change(i, h)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { fleet.Close() })
	client := &fleetssh.ParallelClient{}
	t.Cleanup(func() { client.Close() })
	for _, s := range fleet.Servers {
		client.Hosts = append(client.Hosts, fleetssh.HostConfig{
			Host: s.Host(), Port: s.Port(), User: "ann", Attempts: 1, HostKeys: fleetssh.InsecureIgnoreHostKeys{},
			Auth: fleetssh.Auth{Password: "secret", NoAgent: true, NoDefaultKeys: true},
		})
	}
	return fleet.Servers, &Watch{Client: client, Every: 10 * time.Millisecond, Timeout: patience, Logins: 10}
}

// runAll runs a watch and returns how each host ended.
func runAll(t *testing.T, w *Watch, attempt Attempt) []End {
	t.Helper()
	ends := make([]End, len(w.Client.Hosts))
	w.Run(t.Context(), attempt, func(e End) { ends[e.Index] = e })
	return ends
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	servers, w := fleetOf(t, 2, nil)
	servers[1].SetAway(true)
	var tries atomic.Int32
	ends := runAll(t, w, func(ctx context.Context, i int) error {
		err := w.Answers(ctx, i)
		if i == 1 && err != nil && tries.Add(1) == 3 {
			servers[1].SetAway(false)
		}
		return err
	})
	if ends[0].Err != nil || ends[0].Attempts != 1 || ends[1].Err != nil || ends[1].Attempts != 4 {
		t.Errorf("%+v", ends)
	}
	// Each attempt is a login of its own, and no connection is left.
	for i, s := range servers {
		st := s.Stats()
		for end := time.Now().Add(patience); st.Logins == 0 && time.Now().Before(end); st = s.Stats() {
			time.Sleep(time.Millisecond) // the host counts a login after it has said that it accepts it
		}
		if st.Logins != 1 || st.Connections != 1 {
			t.Errorf("host %d: %+v", i, st)
		}
	}
}

func TestSucceeds(t *testing.T) {
	t.Parallel()
	servers, w := fleetOf(t, 1, nil)
	attempt := w.Succeeds(fleetssh.Command{Line: "cat ready"})
	n := 0
	ends := runAll(t, w, func(ctx context.Context, i int) error {
		err := attempt(ctx, i)
		if n++; n == 2 {
			if notYet, ok := errors.AsType[*NotYet](err); !ok || !strings.Contains(notYet.Reason, "ready: No such file") {
				t.Errorf("%v", err)
			}
			if err := servers[0].WriteFile("/home/ann/ready", nil, 0); err != nil {
				t.Error(err)
			}
		}
		return err
	})
	if ends[0].Err != nil || ends[0].Attempts != 3 {
		t.Errorf("%+v", ends)
	}
}

func TestGone(t *testing.T) {
	t.Parallel()
	servers, w := fleetOf(t, 1, nil)
	gone := w.Gone()
	n := 0
	ends := runAll(t, w, func(ctx context.Context, i int) error {
		err := gone(ctx, i)
		if n++; n == 1 {
			servers[0].SetAway(true)
		}
		return err
	})
	if ends[0].Err != nil || ends[0].Attempts != 3 {
		t.Errorf("%+v", ends[0])
	}
}

// A host that refuses the login, or turns away this address, is still there.
func TestNotGone(t *testing.T) {
	t.Parallel()
	_, w := fleetOf(t, 1, nil)
	w.Client.Hosts[0].Auth.Password = "wrong"
	w.Client.PasswordsDiffer = true
	notYet, ok := errors.AsType[*NotYet](w.Gone()(t.Context(), 0))
	if !ok || !strings.Contains(notYet.Reason, "it still answers") {
		t.Errorf("%v", notYet)
	}
	if _, refused := errors.AsType[*fleetssh.AuthenticationError](notYet); !refused {
		t.Errorf("%v", notYet.Err)
	}
	for _, test := range []struct {
		err  error
		away bool
	}{
		{&fleetssh.UnknownHostError{}, true},
		{errRefused, true},
		{&fleetssh.TimeoutError{Phase: fleetssh.PhaseConnect}, true},
		{&fleetssh.TimeoutError{Phase: fleetssh.PhaseAuth}, false},
		{&fleetssh.ConnectionError{Phase: fleetssh.PhaseHandshake, Said: "Not allowed at this time"}, false},
		{&fleetssh.ConnectionError{Phase: fleetssh.PhaseAuth}, false},
		{&fleetssh.HostKeyError{}, false},
		{&fleetssh.ProxyError{Err: errRefused}, false}, // of the hop
	} {
		if isAway(test.err) != test.away {
			t.Errorf("%T: want %v", test.err, test.away)
		}
	}
}

func TestReboot(t *testing.T) {
	t.Parallel()
	servers, w := fleetOf(t, 3, nil)
	var before []string
	for _, s := range servers {
		before = append(before, s.BootID())
	}
	var sent atomic.Int32
	reboot := &Reboot{Watch: w, Command: fleetssh.Command{Line: RebootLine, Shell: "sh -c", Sudo: true}, Before: func(int) { sent.Add(1) }}
	reboot.Begin()
	for i, e := range runAll(t, w, reboot.Attempt) {
		if r := reboot.Result(e, i); !r.OK || servers[i].BootID() == before[i] || servers[i].Stats().Reboots != 1 {
			t.Errorf("host %d: %+v, %+v", i, e, servers[i].Stats())
		}
	}
	if sent.Load() != 3 {
		t.Errorf("the command was sent %d times", sent.Load())
	}
}

// Only a host that is logged in to is told to reboot, and a host that answers as before is not back.
func TestRebootFails(t *testing.T) {
	t.Parallel()
	const ignores, away, denied, absent, changed = 0, 1, 2, 3, 4
	servers, w := fleetOf(t, 5, func(i int, h *simfleet.Host) {
		switch i {
		case ignores:
			h.Fault.Kind = simfleet.IgnoreReboot
		case away:
			h.Fault.Kind = simfleet.StayAway
		case denied:
			h.RefuseSudo = true
		}
	})
	w.Timeout, w.Every = 10*time.Second, 300*time.Millisecond // no host comes back
	w.Client.Hosts[changed].HostKeys = wrongKeys{}
	servers[absent].SetAway(true)
	var sent [5]atomic.Int32
	reboot := &Reboot{Watch: w, Command: fleetssh.Command{Line: RebootLine, Shell: "sh -c", Sudo: true}, Before: func(i int) { sent[i].Add(1) }}
	reboot.Begin()
	want := map[int]string{
		ignores: "timed_out, not back: after 10s: its boot ID has not changed",
		away:    "timed_out, not back: after 10s: ",
		denied:  "exited, exit code 1: ann is not in the sudoers file.",
		absent:  "unreachable, unreachable (",
		changed: "unreachable, unreachable (host_key): ",
	}
	ends := runAll(t, w, reboot.Attempt)
	for i, e := range ends {
		r := reboot.Result(e, i)
		title, _ := r.Title()
		if got := r.Outcome.Kind.String() + ", " + title + ": " + r.Problem.Reason; r.OK || !strings.HasPrefix(got, want[i]) {
			t.Errorf("host %d: %q, want %q", i, got, want[i])
		}
	}
	for i, times := range []int32{ignores: 1, away: 1, denied: 1, absent: 0, changed: 0} {
		if got := sent[i].Load(); got != times {
			t.Errorf("host %d: the command was sent %d times", i, got)
		}
	}
	if ends[absent].Attempts != maxUnsent {
		t.Errorf("%+v", ends[absent])
	}
}

// wrongKeys trusts no key.
type wrongKeys struct{}

func (wrongKeys) Algorithms(string, int) []string { return nil }

func (wrongKeys) Check(host string, _ int, key ssh.PublicKey) error {
	return &fleetssh.HostKeyError{Host: host, Key: key, Err: errors.New("changed")}
}
