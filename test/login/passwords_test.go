package login

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"fleetssh"
	"fleetssh/internal/fleettest"
	"fleetssh/internal/simfleet"
)

// passwordHosts starts n hosts that accept only the password "right", and sets the password that
// the client offers.
func passwordHosts(t *testing.T, n int, password string, change func(i int, h *simfleet.Host)) ([]fleettest.Server, []fleetssh.HostConfig) {
	t.Helper()
	servers, configs := make([]fleettest.Server, n), make([]fleetssh.HostConfig, n)
	for i := range n {
		servers[i] = fleettest.NewServer(t, func(h *simfleet.Host) {
			h.AuthorizedKeys, h.Password = nil, "right"
			if change != nil {
				change(i, h)
			}
		})
		configs[i] = servers[i].Config()
		configs[i].Alias = fmt.Sprintf("web%02d", i)
		configs[i].Auth = fleetssh.Auth{Password: password, NoAgent: true, NoDefaultKeys: true}
		configs[i].ConnectTimeout = fleettest.Patience
	}
	return servers, configs
}

// passwordsSeen returns how many wrong passwords each host has received, and the sum.
func passwordsSeen(servers []fleettest.Server) (each []int, all int) {
	for _, s := range servers {
		failures := s.Stats().AuthFailures
		n := failures["password"] + failures["keyboard-interactive"]
		each, all = append(each, n), all+n
	}
	return each, all
}

// runTrue starts "true" on all hosts.
func runTrue(t *testing.T, p *fleetssh.ParallelClient) []*fleetssh.HostOutput {
	t.Helper()
	outs, err := p.RunCommand(t.Context(), fleetssh.Command{Line: "true"})
	if outs == nil {
		t.Fatal(err)
	}
	return outs
}

// count returns the number of hosts with this outcome.
func count(outs []*fleetssh.HostOutput, kind fleetssh.OutcomeKind, phase fleetssh.Phase) int {
	n := 0
	for _, out := range outs {
		if o := out.Outcome(); o.Kind == kind && o.Phase == phase {
			n++
		}
	}
	return n
}

func TestWrongPasswordReachesOneHost(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		change func(int, *simfleet.Host)
		auth   func(i int, a *fleetssh.Auth)
	}{
		{"password", nil, nil},
		{"keyboard-interactive", func(_ int, h *simfleet.Host) { h.RequireAll = []string{"keyboard-interactive"} }, nil},
		{"both methods, each on half of the hosts", func(i int, h *simfleet.Host) {
			h.RequireAll = []string{[]string{"keyboard-interactive", "password"}[i%2]}
		}, nil},
		{"second factor", func(_ int, h *simfleet.Host) {
			h.AuthorizedKeys, h.RequireAll = []ssh.PublicKey{fleettest.ClientKey().PublicKey()}, []string{"publickey", "password"}
		}, func(_ int, a *fleetssh.Auth) { a.Signers = []ssh.Signer{fleettest.ClientKey()} }},
		{"after refused keys", nil, func(_ int, a *fleetssh.Auth) { a.Signers = []ssh.Signer{fleettest.NewKey(), fleettest.NewKey()} }},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			servers, hosts := passwordHosts(t, 24, "wrong", test.change)
			for i := range hosts {
				if test.auth != nil {
					test.auth(i, &hosts[i].Auth)
				}
			}
			p := fleettest.NewFleet(t, hosts...)
			outs := runTrue(t, p)
			if each, all := passwordsSeen(servers); all != 1 {
				t.Errorf("the client sent the wrong password %d times: %v", all, each)
			}
			fleettest.Equal(t, "refused", count(outs, fleetssh.Unreachable, "auth"), 1)
			fleettest.Equal(t, "not started", count(outs, fleetssh.NotStarted, "auth"), len(hosts)-1)
			by := ""
			for _, out := range outs {
				if _, ok := out.Err.(*fleetssh.AuthenticationError); ok {
					by = out.Host.Alias
				}
			}
			for _, out := range outs {
				if e, ok := out.Err.(*fleetssh.PasswordError); ok {
					fleettest.Equal(t, "refused by", e.RefusedBy, by)
					fleettest.Contains(t, e.Error(), fmt.Sprintf("log in to %s:%d as alice: the password was refused by %s; it was not sent here", out.Host.Alias, out.Host.Port, by))
				}
			}
			// The client does not send the password again.
			runTrue(t, p)
			if each, all := passwordsSeen(servers); all != 1 {
				t.Errorf("after another call, the client had sent the wrong password %d times: %v", all, each)
			}
		})
	}
}

func TestGoodPasswordGoesToAll(t *testing.T) {
	t.Parallel()
	servers, hosts := passwordHosts(t, 24, "right", func(i int, h *simfleet.Host) {
		if i == 7 {
			h.Password = "its own"
		}
	})
	p := fleettest.NewFleet(t, hosts[8:]...)
	outs := runTrue(t, p)
	fleettest.Equal(t, "accepted", count(outs, fleetssh.Running, "")+count(outs, fleetssh.Exited, ""), 16)
	// If a host refuses a password that others have accepted, only that host fails.
	p.SetHosts(hosts)
	outs = runTrue(t, p)
	fleettest.Equal(t, "refused", count(outs, fleetssh.Unreachable, "auth"), 1)
	if e, ok := outs[7].Err.(*fleetssh.AuthenticationError); !ok {
		t.Errorf("host 7: %v, want its own refusal", e)
	}
	fleettest.Equal(t, "not started", count(outs, fleetssh.NotStarted, "auth"), 0)
	each, all := passwordsSeen(servers)
	if all != 1 {
		t.Errorf("refusals: %v", each)
	}
}

// TestPasswordTurnIsPassedOn has hosts that neither accept nor refuse the password. The turn to
// try it first passes from each of them to the next host.
func TestPasswordTurnIsPassedOn(t *testing.T) {
	t.Parallel()
	servers, hosts := passwordHosts(t, 12, "wrong", func(i int, h *simfleet.Host) {
		switch i {
		case 0:
			h.Fault.Kind = simfleet.StallPassword
		case 1, 2:
			h.Fault.Kind = simfleet.CutPassword
		case 3:
			h.Password, h.AuthorizedKeys = "", []ssh.PublicKey{fleettest.ClientKey().PublicKey()}
		}
	})
	hosts[0].ConnectTimeout = fleettest.Lapse
	hosts[3].Auth.Signers = []ssh.Signer{fleettest.ClientKey()}
	hosts[4].Port = fleettest.ClosedPort(t)
	p := fleettest.NewFleet(t, hosts...)
	// The pool starts with the first three. Further hosts connect after one of these has had the
	// turn, and how many of the three have it before a host that answers is a matter of timing.
	p.PoolSize = 3
	outs := runTrue(t, p)
	each, _ := passwordsSeen(servers)
	answered := 0
	for _, n := range each[4:] {
		answered += n
	}
	if answered != 1 {
		t.Errorf("hosts that answer got the wrong password %d times: %v", answered, each)
	}
	unanswered := count(outs[:3], fleetssh.Unreachable, "auth")
	if unanswered == 0 {
		t.Error("no host timed out or dropped the connection")
	}
	fleettest.Equal(t, "needs no password", count(outs[3:4], fleetssh.NotStarted, "auth"), 0)
	fleettest.Equal(t, "down", count(outs[4:5], fleetssh.Unreachable, "connect"), 1)
	fleettest.Equal(t, "not started", count(outs, fleetssh.NotStarted, "auth"), 9-unanswered)
}

// TestPasswordTurnIsCancelled cancels the host that has the turn while all others wait for it.
func TestPasswordTurnIsCancelled(t *testing.T) {
	t.Parallel()
	servers, hosts := passwordHosts(t, 6, "right", func(i int, h *simfleet.Host) {
		if i == 0 {
			h.Fault.Kind = simfleet.StallPassword
		}
	})
	for i := range hosts {
		hosts[i].ConnectTimeout = fleettest.Patience
	}
	hosts[1].ConnectTimeout = fleettest.Lapse // does not run while it waits for the turn
	p := fleettest.NewFleet(t, hosts...)
	first, cancel := context.WithCancel(t.Context())
	defer cancel()
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := p.Client(first, 0); !errors.Is(err, context.Canceled) {
			t.Errorf("the cancelled host: %v", err)
		}
	})
	fleettest.Eventually(t, "the first to have the turn", func() bool { return servers[0].Stats().AuthFailures["password"] == 1 })
	waiting, cancelWaiting := context.WithCancel(t.Context())
	defer cancelWaiting()
	for i := 1; i < len(hosts); i++ {
		wg.Go(func() {
			ctx := t.Context()
			if i == 2 {
				ctx = waiting
			}
			_, err := p.Client(ctx, i)
			if i == 2 && !errors.Is(err, context.Canceled) || i != 2 && err != nil {
				t.Errorf("host %d: %v", i, err)
			}
		})
	}
	fleettest.Eventually(t, "the others to wait", func() bool {
		n := 0
		for _, at := range p.Working() {
			if at.Phase == "password" {
				n++
			}
		}
		return n == 5
	})
	<-time.After(fleettest.Lapse + 100*time.Millisecond) // longer than host 1 may take to connect
	cancelWaiting()
	cancel()
	wg.Wait()
}

func TestAnotherPasswordIsAskedForOnce(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		answers []string // after the first password
		wrong   int      // passwords that hosts get
		started bool
	}{
		{"the second is right", []string{"right"}, 1, true},
		{"the third is right", []string{"wrong too", "right"}, 2, true},
		{"none is right", []string{"wrong too", "wrong again", "right"}, 3, false},
		{"no answer", nil, 1, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			servers, hosts := passwordHosts(t, 12, "wrong", nil)
			p := fleettest.NewFleet(t, hosts...)
			var asked atomic.Int32
			p.AskAgain = func(_ context.Context, r fleetssh.RefusedPassword) (string, error) {
				n := int(asked.Add(1))
				fleettest.Equal(t, "user", r.User, "alice")
				fleettest.Equal(t, "refused so far", r.Try, n)
				if r.Sudo || n > len(test.answers) {
					return "", errors.New("no answer")
				}
				return test.answers[n-1], nil
			}
			outs := runTrue(t, p)
			if each, all := passwordsSeen(servers); all != test.wrong {
				t.Errorf("the client sent wrong passwords %d times: %v", all, each)
			}
			want := 0
			if test.started {
				want = len(hosts)
			}
			fleettest.Equal(t, "started", count(outs, fleetssh.Running, "")+count(outs, fleetssh.Exited, ""), want)
			fleettest.Equal(t, "not started", count(outs, fleetssh.NotStarted, "auth"), max(len(hosts)-want-1, 0))
			fleettest.Equal(t, "questions", int(asked.Load()), max(min(test.wrong, mostAsked), min(len(test.answers), 1)))
		})
	}
}

// mostAsked is how often the client asks for another password.
const mostAsked = 2

// Without AskAgain, the client asks for another password with Auth.Ask, once for all hosts.
func TestAskedForAllHosts(t *testing.T) {
	t.Parallel()
	servers, hosts := passwordHosts(t, 8, "wrong", nil)
	var asked atomic.Int32
	for i := range hosts {
		hosts[i].Auth.Ask = func(_ context.Context, q fleetssh.Question) (string, error) {
			asked.Add(1)
			fleettest.Contains(t, q.Prompt, "has refused the password of alice", "for all hosts")
			return "right", nil
		}
	}
	outs := runTrue(t, fleettest.NewFleet(t, hosts...))
	fleettest.Equal(t, "started", count(outs, fleetssh.Running, "")+count(outs, fleetssh.Exited, ""), len(hosts))
	fleettest.Equal(t, "questions", asked.Load(), 1)
	if each, all := passwordsSeen(servers); all != 1 {
		t.Errorf("refusals: %v", each)
	}
}

func TestPasswordsThatDiffer(t *testing.T) {
	t.Parallel()
	t.Run("PasswordsDiffer", func(t *testing.T) {
		t.Parallel()
		servers, hosts := passwordHosts(t, 8, "wrong", nil)
		p := fleettest.NewFleet(t, hosts...)
		p.PasswordsDiffer = true
		outs := runTrue(t, p)
		fleettest.Equal(t, "refused", count(outs, fleetssh.Unreachable, "auth"), len(hosts))
		if each, all := passwordsSeen(servers); all != len(hosts) {
			t.Errorf("refusals: %v", each)
		}
	})
	t.Run("other users, other values", func(t *testing.T) {
		t.Parallel()
		servers, hosts := passwordHosts(t, 9, "wrong", nil)
		for i := range hosts {
			hosts[i].Auth.Password = []string{"wrong", "wrong", "wrong too"}[i/3]
			hosts[i].User = []string{"alice", "bob", "alice"}[i/3]
		}
		outs := runTrue(t, fleettest.NewFleet(t, hosts...))
		fleettest.Equal(t, "refused", count(outs, fleetssh.Unreachable, "auth"), 3)
		if each, all := passwordsSeen(servers); all != 3 {
			t.Errorf("refusals: %v", each)
		}
	})
	t.Run("the hop is asked first", func(t *testing.T) {
		t.Parallel()
		servers, hosts := passwordHosts(t, 5, "wrong", func(i int, h *simfleet.Host) { h.Dial = simfleet.DialLoopback })
		hops := []fleetssh.HostConfig{hosts[0], hosts[0]}
		for i := 1; i < len(hosts); i++ {
			hosts[i].Proxy = &hops[i%2] // two connections to one host, which refuses the password once
		}
		outs := runTrue(t, fleettest.NewFleet(t, hosts[1:]...))
		each, all := passwordsSeen(servers)
		if all != 1 || each[0] != 1 {
			t.Errorf("refusals: %v, want one, by the hop", each)
		}
		fleettest.Equal(t, "behind the connection that was refused", count(outs, fleetssh.Unreachable, "proxy"), 2)
		fleettest.Equal(t, "behind the other", count(outs, fleetssh.NotStarted, "proxy"), 2)
	})
}

// sudoFleet starts n hosts whose sudo wants the password "right", and returns a command that offers
// password.
func sudoFleet(t *testing.T, n int, password string, change func(i int, h *simfleet.Host)) ([]fleettest.Server, *fleetssh.ParallelClient, fleetssh.Command) {
	t.Helper()
	servers, hosts := make([]fleettest.Server, n), make([]fleetssh.HostConfig, n)
	for i := range n {
		servers[i] = fleettest.NewServer(t, func(h *simfleet.Host) {
			h.SudoPassword = "right"
			if change != nil {
				change(i, h)
			}
		})
		hosts[i] = servers[i].Config()
		hosts[i].Alias = fmt.Sprintf("web%02d", i)
	}
	return servers, fleettest.NewFleet(t, hosts...), fleetssh.Command{
		Line: "whoami", Sudo: true,
		SudoPassword: func(context.Context, fleetssh.HostConfig) (string, error) { return password, nil },
	}
}

// sudoFailures returns how many passwords sudo has refused on each host, and the sum.
func sudoFailures(servers []fleettest.Server) (each []int, all int) {
	for _, s := range servers {
		n := s.Stats().SudoFailures
		each, all = append(each, n), all+n
	}
	return each, all
}

// runAll runs a command to its end on all hosts.
func runAll(t *testing.T, p *fleetssh.ParallelClient, cmd fleetssh.Command) []*fleetssh.HostOutput {
	t.Helper()
	events, err := p.Stream(t.Context(), cmd)
	if err != nil {
		t.Fatal(err)
	}
	outs := make([]*fleetssh.HostOutput, len(p.Hosts))
	for ev := range events {
		if ev.Kind == fleetssh.Finished {
			outs[ev.Index] = ev.Output
		}
	}
	return outs
}

func TestWrongSudoPasswordReachesOneHost(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		change func(*fleetssh.ParallelClient, *fleetssh.Command)
	}{
		{"plain", nil},
		{"on a terminal", func(_ *fleetssh.ParallelClient, c *fleetssh.Command) { c.PTY = new(fleetssh.PTY) }},
		{"with Timeout", func(_ *fleetssh.ParallelClient, c *fleetssh.Command) { c.Timeout = fleettest.Patience }},
		{"one after the other", func(p *fleetssh.ParallelClient, _ *fleetssh.Command) { p.PoolSize = 1 }},
		{"with OneShot", func(p *fleetssh.ParallelClient, _ *fleetssh.Command) { p.OneShot = true }},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			servers, p, cmd := sudoFleet(t, 12, "wrong", func(i int, h *simfleet.Host) {
				h.SudoRS = i%2 == 1
				if i == 3 {
					h.SudoPassword = "" // NOPASSWD
				}
			})
			if test.change != nil {
				test.change(p, &cmd)
			}
			outs := runAll(t, p, cmd)
			if each, all := sudoFailures(servers); all != 1 {
				t.Errorf("the client sent the wrong password %d times: %v", all, each)
			}
			fleettest.Equal(t, "not started", count(outs, fleetssh.NotStarted, "sudo"), 11)
			unsent := 0
			for i, out := range outs {
				err := out.WaitFinished(t.Context())
				if e, ok := err.(*fleetssh.PasswordError); ok {
					unsent++
					fleettest.Contains(t, e.Error(), "sudo on web", ": the password was refused by web", "; it was not sent here")
				}
				if i == 3 && err != nil {
					t.Errorf("sudo that asks for no password: %v", err)
				}
			}
			fleettest.Equal(t, "hosts that did not get it", unsent, 10)
		})
	}
}

func TestSudoPasswordGoesToAll(t *testing.T) {
	t.Parallel()
	t.Run("good", func(t *testing.T) {
		t.Parallel()
		servers, p, cmd := sudoFleet(t, 12, "right", func(i int, h *simfleet.Host) { h.RefuseSudo = i < 3 })
		outs := runAll(t, p, cmd)
		if each, all := sudoFailures(servers); all != 0 {
			t.Errorf("refusals: %v", each)
		}
		// A user who is not in sudoers is refused whatever the password.
		fleettest.Equal(t, "not in sudoers", count(outs[:3], fleetssh.NotStarted, "sudo"), 3)
		fleettest.Equal(t, "ran", count(outs[3:], fleetssh.Exited, ""), 9)
	})
	t.Run("asked for again", func(t *testing.T) {
		t.Parallel()
		servers, p, cmd := sudoFleet(t, 12, "wrong", nil)
		cmd.Timeout = fleettest.Patience
		var asked atomic.Int32
		p.AskAgain = func(_ context.Context, r fleetssh.RefusedPassword) (string, error) {
			fleettest.Equal(t, "sudo", r.Sudo, true)
			return []string{"wrong too", "right"}[asked.Add(1)-1], nil
		}
		outs := runAll(t, p, cmd)
		if each, all := sudoFailures(servers); all != 2 {
			t.Errorf("refusals: %v", each)
		}
		fleettest.Equal(t, "ran", count(outs, fleetssh.Exited, ""), len(outs))
	})
	t.Run("PasswordsDiffer", func(t *testing.T) {
		t.Parallel()
		servers, p, cmd := sudoFleet(t, 6, "wrong", nil)
		p.PasswordsDiffer = true
		runAll(t, p, cmd)
		if each, all := sudoFailures(servers); all != 6 {
			t.Errorf("refusals: %v", each)
		}
	})
	t.Run("the password of the login", func(t *testing.T) {
		t.Parallel()
		servers, hosts := passwordHosts(t, 6, "right", func(i int, h *simfleet.Host) { h.SudoPassword = []string{"other", "right"}[min(i, 1)] })
		p := fleettest.NewFleet(t, hosts...)
		p.PoolSize = 1
		outs := runAll(t, p, fleetssh.Command{Line: "whoami", Sudo: true, SudoPassword: func(context.Context, fleetssh.HostConfig) (string, error) { return "right", nil }})
		// The login has shown that it is right, so the refusal of sudo on the first host concerns
		// only that host.
		if each, all := sudoFailures(servers); all != 1 {
			t.Errorf("refusals: %v", each)
		}
		fleettest.Equal(t, "ran", count(outs, fleetssh.Exited, ""), 5)
	})
}

// Timeout does not include the wait for another sudo password: the user takes longer to type than
// the commands may run.
func TestTimeoutExcludesSudoQuestion(t *testing.T) {
	t.Parallel()
	_, p, cmd := sudoFleet(t, 5, "wrong", nil)
	cmd.Timeout = fleettest.Lapse
	p.AskAgain = func(ctx context.Context, r fleetssh.RefusedPassword) (string, error) {
		<-time.After(fleettest.Lapse + time.Second)
		return "right", nil
	}
	outs := runAll(t, p, cmd)
	fleettest.Equal(t, "ran", count(outs, fleetssh.Exited, ""), len(outs))
}
