package fleetssh_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"fleetssh"
	"fleetssh/internal/sshdtest"
)

// stopCases are the accounts to stop commands of, and how they are stopped.
var stopCases = []struct {
	name    string
	account string
	command fleetssh.Command
	hard    bool // also for commands that are hard to stop
}{
	{"user", sshdtest.Bob, fleetssh.Command{}, true},
	{"user, terminal", sshdtest.Bob, fleetssh.Command{PTY: &fleetssh.PTY{}}, true},
	{"user, shell", sshdtest.Bob, fleetssh.Command{Shell: "bash -c"}, false},
	{"root", "root", fleetssh.Command{}, true},
	{"root, terminal", "root", fleetssh.Command{PTY: &fleetssh.PTY{}}, false},
	{"root, shell", "root", fleetssh.Command{Shell: "bash -c"}, false},
	{"sudo without password", sshdtest.Carol, fleetssh.Command{Sudo: true}, true},
	{"sudo without password, terminal", sshdtest.Carol, fleetssh.Command{Sudo: true, PTY: &fleetssh.PTY{}}, false},
	{"sudo without password, another user", sshdtest.Carol, fleetssh.Command{User: sshdtest.Bob}, false},
	{"sudo with password", sshdtest.Alice, fleetssh.Command{Sudo: true, SudoPassword: accountPassword}, true},
	{"sudo with password, terminal", sshdtest.Alice, fleetssh.Command{Sudo: true, SudoPassword: accountPassword, PTY: &fleetssh.PTY{}}, false},
	{"sudo with password, another user", sshdtest.Alice, fleetssh.Command{User: sshdtest.Bob, SudoPassword: accountPassword}, false},
	{"sudo from root", "root", fleetssh.Command{Sudo: true}, false},
}

// accountPassword answers sudo for the accounts of the tests. They exist already.
func accountPassword(_ context.Context, host fleetssh.HostConfig) (string, error) {
	return host.Auth.Password, nil
}

// stopServer starts a server for an account, whose password is in the
// configuration for accountPassword to find.
func stopServer(t testing.TB, account string, config ...string) fleetssh.HostConfig {
	t.Helper()
	_, host, password := accountServer(t, account, sshdtest.Options{Config: config})
	host.Auth.Password = password
	return host
}

func TestSSHDStopAfterTimeout(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	all := together{t: t}
	defer all.wg.Wait()
	for _, test := range stopCases {
		for _, line := range []struct{ name, format string }{
			{"", "sleep %s"},
			{", children", "sleep %[1]s & sleep %[1]s; echo after"},
			{", TERM ignored", "trap '' TERM; sleep %[1]s; sleep %[1]s"},
		} {
			if line.name != "" && !test.hard {
				continue
			}
			all.run(test.name+line.name, func(t *testing.T) {
				sshdtest.CheckLeaks(t)
				c := dial(t, stopServer(t, test.account))
				marker := sshdtest.Marker()
				cmd := test.command
				cmd.Line = fmt.Sprintf(line.format, marker)
				cmd.Timeout = 3 * time.Second
				out := start(t, c, cmd)
				running(t, marker, true)
				e := asError[*fleetssh.TimeoutError](t, out.WaitFinished(soon(t)))
				equal(t, "Op", e.Op, "run")
				equal(t, "outcome", out.Outcome(), fleetssh.Outcome{Kind: fleetssh.TimedOut, Stopped: true})
				running(t, marker, false)
				// The connection is still of use.
				equal(t, "output", output(t, c, "echo after"), "after\n")
			})
		}
	}
}

// What ends by itself is not stopped.
func TestSSHDStopInTime(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	_, host := startServer(t, sshdtest.Options{})
	out := start(t, dial(t, host), fleetssh.Command{Line: "exit 3", Timeout: patience})
	equal(t, "code", asError[*fleetssh.ExitError](t, out.WaitFinished(soon(t))).Code, 3)
	equal(t, "outcome", out.Outcome(), fleetssh.Outcome{Kind: fleetssh.Exited, ExitCode: 3})
	equal(t, "stop afterwards", out.Stop(soon(t)), nil)
	equal(t, "outcome afterwards", out.Outcome(), fleetssh.Outcome{Kind: fleetssh.Exited, ExitCode: 3})
}

func TestSSHDStopAtOnce(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	all := together{t: t}
	defer all.wg.Wait()
	for _, account := range []string{sshdtest.Bob, "root"} {
		all.run(account, func(t *testing.T) {
			sshdtest.CheckLeaks(t)
			c := dial(t, stopServer(t, account))
			for range 5 {
				marker := sshdtest.Marker()
				out := start(t, c, fleetssh.Command{Line: "sleep " + marker})
				equal(t, "stop", out.Stop(soon(t)), nil)
				equal(t, "outcome", out.Outcome(), fleetssh.Outcome{Kind: fleetssh.Cancelled, Stopped: true})
				running(t, marker, false)
			}
		})
	}
}

// With other commands on the connection of root, it is not known which process is
// the one to stop. Then none is, rather than a wrong one.
func TestSSHDStopOnlyTheRightOne(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	all := together{t: t}
	defer all.wg.Wait()
	for _, account := range []string{sshdtest.Bob, "root"} {
		all.run(account, func(t *testing.T) {
			sshdtest.CheckLeaks(t)
			host := stopServer(t, account)
			c := dial(t, host)
			bystander := sshdtest.Marker()
			other := start(t, c, fleetssh.Command{Line: "sleep " + bystander})
			running(t, bystander, true)
			stranger := dial(t, host)
			elsewhere := sshdtest.Marker()
			far := start(t, stranger, fleetssh.Command{Line: "sleep " + elsewhere})
			running(t, elsewhere, true)
			marker := sshdtest.Marker()
			out := start(t, c, fleetssh.Command{Line: "sleep " + marker, Timeout: 2 * time.Second})
			running(t, marker, true)
			asError[*fleetssh.TimeoutError](t, out.WaitFinished(soon(t)))
			equal(t, "kind", out.Outcome().Kind, fleetssh.TimedOut)
			if account != "root" {
				equal(t, "stopped", out.Outcome().Stopped, true)
			}
			equal(t, "said to be stopped and is not", out.Outcome().Stopped && len(sshdtest.Processes(marker)) > 0, false)
			running(t, bystander, true)
			running(t, elsewhere, true)
			equal(t, "bystander finished", other.Finished(), false)
			other.Stop(soon(t))
			far.Stop(soon(t))
			running(t, elsewhere, false)
			sshdtest.Kill(marker, bystander)
		})
	}
}

// A loop that is left, cancelled or that panics leaves nothing running.
func TestSSHDStopStream(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	all := together{t: t}
	defer all.wg.Wait()
	for _, account := range []string{sshdtest.Bob, "root"} {
		for _, way := range []string{"break", "cancel", "panic"} {
			all.run(account+", "+way, func(t *testing.T) {
				sshdtest.CheckLeaks(t)
				host := stopServer(t, account)
				p := &fleetssh.ParallelClient{Hosts: []fleetssh.HostConfig{host, host, host, host}, PoolSize: 3}
				defer p.Close()
				ctx, cancel := context.WithCancel(soon(t))
				defer cancel()
				marker := sshdtest.Marker()
				events, err := p.Stream(ctx, fleetssh.Command{Line: "echo started; sleep " + marker})
				if err != nil {
					t.Fatal(err)
				}
				finished := make(map[int]fleetssh.Outcome)
				func() {
					defer func() {
						if r := recover(); r != nil && way != "panic" {
							panic(r)
						}
					}()
					lines := 0
					for e := range events {
						switch e.Kind {
						case fleetssh.StdoutLine:
							if lines++; lines < 3 {
								continue
							}
							running(t, marker, true)
							switch way {
							case "break":
								return
							case "cancel":
								cancel()
							case "panic":
								panic("in the loop")
							}
						case fleetssh.Finished:
							finished[e.Host] = e.Output.Outcome()
						}
					}
				}()
				running(t, marker, false)
				if way != "cancel" {
					return
				}
				cancelled := fleetssh.Outcome{Kind: fleetssh.Cancelled, Stopped: true}
				for i, want := range []fleetssh.Outcome{cancelled, cancelled, cancelled, {Kind: fleetssh.Skipped}} {
					equal(t, fmt.Sprint("outcome of ", i), finished[i], want)
				}
			})
		}
	}
}

// Output stops the command when its context ends.
func TestSSHDStopOutput(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	c := dial(t, stopServer(t, sshdtest.Bob))
	marker := sshdtest.Marker()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	out, err := c.Output(ctx, "echo before; sleep "+marker)
	asError[*fleetssh.TimeoutError](t, err)
	equal(t, "output", string(out), "before\n")
	running(t, marker, false)
}
