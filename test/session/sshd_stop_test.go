package session

import (
	"context"
	"fmt"
	"testing"

	"fleetssh"
	"fleetssh/internal/fleettest"
	"fleetssh/internal/sshdtest"
)

// stopCases are the accounts whose commands are stopped, and the ways to stop them.
var stopCases = []struct {
	name    string
	account string
	command fleetssh.Command
	hard    bool // also for commands that resist stopping
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

// accountPassword answers sudo for the existing accounts of the tests.
func accountPassword(_ context.Context, host fleetssh.HostConfig) (string, error) {
	return host.Auth.Password, nil
}

// stopServer starts a server for an account and puts the password into the configuration, where
// accountPassword finds it.
func stopServer(t testing.TB, account string, config ...string) fleetssh.HostConfig {
	t.Helper()
	_, host, password := fleettest.AccountSSHD(t, account, sshdtest.Options{Config: config})
	host.Auth.Password = password
	return host
}

func TestSSHDStopAfterTimeout(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	all := fleettest.Together{T: t}
	defer all.Wait()
	for _, test := range stopCases {
		for _, line := range []struct{ name, format string }{
			{"", "sleep %s"},
			{", children", "sleep %[1]s & sleep %[1]s; echo after"},
			{", TERM ignored", "trap '' TERM; sleep %[1]s; sleep %[1]s"},
		} {
			if line.name != "" && !test.hard {
				continue
			}
			all.Run(test.name+line.name, func(t *testing.T) {
				sshdtest.CheckLeaks(t)
				c := fleettest.Dial(t, stopServer(t, test.account))
				marker := sshdtest.Marker()
				cmd := test.command
				cmd.Line = fmt.Sprintf(line.format, marker)
				cmd.Timeout = fleettest.Lapse
				out := fleettest.Start(t, c, cmd)
				fleettest.Running(t, marker, true)
				e := fleettest.AsError[*fleetssh.TimeoutError](t, out.WaitFinished(fleettest.Soon(t)))
				fleettest.Equal(t, "phase", e.Phase, "run")
				fleettest.Equal(t, "outcome", out.Outcome(), fleetssh.Outcome{Kind: fleetssh.TimedOut, Stopped: true})
				fleettest.Running(t, marker, false)
				// The connection is still usable.
				fleettest.Equal(t, "output", fleettest.Output(t, c, "echo after"), "after\n")
			})
		}
	}
}

// A command that ends by itself is not stopped.
func TestSSHDStopInTime(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	_, host := fleettest.StartSSHD(t, sshdtest.Options{})
	out := fleettest.Start(t, fleettest.Dial(t, host), fleetssh.Command{Line: "exit 3", Timeout: fleettest.Patience})
	fleettest.Equal(t, "code", fleettest.AsError[*fleetssh.ExitError](t, out.WaitFinished(fleettest.Soon(t))).Code, 3)
	fleettest.Equal(t, "outcome", out.Outcome(), fleetssh.Outcome{Kind: fleetssh.Exited, ExitCode: 3})
	fleettest.Equal(t, "stop afterwards", out.Stop(fleettest.Soon(t)), nil)
	fleettest.Equal(t, "outcome afterwards", out.Outcome(), fleetssh.Outcome{Kind: fleetssh.Exited, ExitCode: 3})
}

func TestSSHDStopAtOnce(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	all := fleettest.Together{T: t}
	defer all.Wait()
	for _, account := range []string{sshdtest.Bob, "root"} {
		all.Run(account, func(t *testing.T) {
			sshdtest.CheckLeaks(t)
			c := fleettest.Dial(t, stopServer(t, account))
			for range 5 {
				marker := sshdtest.Marker()
				out := fleettest.Start(t, c, fleetssh.Command{Line: "sleep " + marker})
				fleettest.Equal(t, "stop", out.Stop(fleettest.Soon(t)), nil)
				fleettest.Equal(t, "outcome", out.Outcome(), fleetssh.Outcome{Kind: fleetssh.Cancelled, Stopped: true})
				fleettest.Running(t, marker, false)
			}
		})
	}
}

// With other commands on root's connection, the process to stop cannot be determined. The
// library then stops none rather than the wrong one.
func TestSSHDStopOnlyTheRightOne(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	all := fleettest.Together{T: t}
	defer all.Wait()
	for _, account := range []string{sshdtest.Bob, "root"} {
		all.Run(account, func(t *testing.T) {
			sshdtest.CheckLeaks(t)
			host := stopServer(t, account)
			c := fleettest.Dial(t, host)
			bystander := sshdtest.Marker()
			other := fleettest.Start(t, c, fleetssh.Command{Line: "sleep " + bystander})
			fleettest.Running(t, bystander, true)
			stranger := fleettest.Dial(t, host)
			elsewhere := sshdtest.Marker()
			far := fleettest.Start(t, stranger, fleetssh.Command{Line: "sleep " + elsewhere})
			fleettest.Running(t, elsewhere, true)
			marker := sshdtest.Marker()
			out := fleettest.Start(t, c, fleetssh.Command{Line: "sleep " + marker, Timeout: fleettest.Lapse})
			fleettest.Running(t, marker, true)
			fleettest.AsError[*fleetssh.TimeoutError](t, out.WaitFinished(fleettest.Soon(t)))
			fleettest.Equal(t, "kind", out.Outcome().Kind, fleetssh.TimedOut)
			if account != "root" {
				fleettest.Equal(t, "stopped", out.Outcome().Stopped, true)
			}
			fleettest.Equal(t, "said to be stopped and is not", out.Outcome().Stopped && len(sshdtest.Processes(marker)) > 0, false)
			fleettest.Running(t, bystander, true)
			fleettest.Running(t, elsewhere, true)
			fleettest.Equal(t, "bystander finished", other.Finished(), false)
			other.Stop(fleettest.Soon(t))
			far.Stop(fleettest.Soon(t))
			fleettest.Running(t, elsewhere, false)
			sshdtest.Kill(marker, bystander)
		})
	}
}

// Leaving the loop, cancelling and panicking all stop the running commands.
func TestSSHDStopStream(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	all := fleettest.Together{T: t}
	defer all.Wait()
	for _, account := range []string{sshdtest.Bob, "root"} {
		for _, way := range []string{"break", "cancel", "panic"} {
			all.Run(account+", "+way, func(t *testing.T) {
				sshdtest.CheckLeaks(t)
				host := stopServer(t, account)
				p := &fleetssh.ParallelClient{Hosts: []fleetssh.HostConfig{host, host, host, host}, PoolSize: 3}
				defer p.Close()
				ctx, cancel := context.WithCancel(fleettest.Soon(t))
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
							fleettest.Running(t, marker, true)
							switch way {
							case "break":
								return
							case "cancel":
								cancel()
							case "panic":
								panic("in the loop")
							}
						case fleetssh.Finished:
							finished[e.Index] = e.Output.Outcome()
						}
					}
				}()
				fleettest.Running(t, marker, false)
				if way != "cancel" {
					return
				}
				cancelled := fleetssh.Outcome{Kind: fleetssh.Cancelled, Stopped: true}
				for i, want := range []fleetssh.Outcome{cancelled, cancelled, cancelled, {Kind: fleetssh.Skipped}} {
					fleettest.Equal(t, fmt.Sprint("outcome of ", i), finished[i], want)
				}
			})
		}
	}
}

// Output stops the command when its context ends.
func TestSSHDStopOutput(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	c := fleettest.Dial(t, stopServer(t, sshdtest.Bob))
	marker := sshdtest.Marker()
	ctx, cancel := context.WithTimeout(context.Background(), fleettest.Lapse)
	defer cancel()
	out, err := c.Output(ctx, "echo before; sleep "+marker)
	fleettest.AsError[*fleetssh.TimeoutError](t, err)
	fleettest.Equal(t, "output", string(out), "before\n")
	fleettest.Running(t, marker, false)
}
