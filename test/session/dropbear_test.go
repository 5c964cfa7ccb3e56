package session

import (
	"fmt"
	"testing"

	"fleetssh"
	"fleetssh/internal/fleettest"
	"fleetssh/internal/sshdtest"
)

// dropbearServer starts a dropbear and returns its login configuration.
func dropbearServer(t testing.TB, account string) fleetssh.HostConfig {
	t.Helper()
	password := sshdtest.Accounts(t)
	d := sshdtest.StartDropbear(t)
	return fleetssh.HostConfig{
		Host: d.Host, Port: d.Port, User: account,
		Auth:           fleetssh.Auth{Password: password, NoAgent: true, NoDefaultKeys: true},
		HostKeys:       fleettest.Trust(t, fleettest.KnownLines(d.Address(), d.HostKey)...),
		ConnectTimeout: fleettest.Patience, RetryDelay: -1,
	}
}

// dropbear signals only the shell. The end of the shell says nothing about its child processes.
func TestDropbearStop(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	all := fleettest.Together{T: t}
	defer all.Wait()
	for _, test := range []struct {
		name, format string
		pty          bool
	}{
		{name: "one process", format: "sleep %s"},
		{name: "a child", format: "sleep %s; echo x"},
		{name: "a pipeline", format: "sleep %[1]s | cat; sleep %[1]s"},
		{name: "children", format: "sleep %[1]s & (sleep %[1]s; echo x) & wait"},
		{name: "TERM ignored", format: "trap '' TERM; sleep %[1]s; sleep %[1]s"},
		{name: "terminal", format: "sleep %s; echo x", pty: true},
		{name: "terminal, TERM ignored", format: "trap '' TERM HUP; sleep %[1]s; sleep %[1]s", pty: true},
	} {
		all.Run(test.name, func(t *testing.T) {
			sshdtest.CheckLeaks(t)
			c := fleettest.Dial(t, dropbearServer(t, sshdtest.Bob))
			marker := sshdtest.Marker()
			defer sshdtest.Kill(marker)
			cmd := fleetssh.Command{Line: fmt.Sprintf(test.format, marker), Timeout: fleettest.Lapse}
			if test.pty {
				cmd.PTY = &fleetssh.PTY{}
			}
			out := fleettest.Start(t, c, cmd)
			fleettest.Running(t, marker, true)
			fleettest.AsError[*fleetssh.TimeoutError](t, out.WaitFinished(fleettest.Soon(t)))
			fleettest.Equal(t, "outcome", out.Outcome(), fleetssh.Outcome{Kind: fleetssh.TimedOut, Stopped: true})
			fleettest.Running(t, marker, false)
			fleettest.Equal(t, "output", fleettest.Output(t, c, "echo after"), "after\n")
		})
	}
}

// A command may still run if its processes cannot be determined.
func TestDropbearStopUnsure(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	c := fleettest.Dial(t, dropbearServer(t, sshdtest.Bob))
	bystander, marker := sshdtest.Marker(), sshdtest.Marker()
	defer sshdtest.Kill(bystander, marker)
	other := fleettest.Start(t, c, fleetssh.Command{Line: "sleep " + bystander})
	fleettest.Running(t, bystander, true)
	out := fleettest.Start(t, c, fleetssh.Command{Line: "sleep " + marker + "; echo x", Timeout: fleettest.Lapse})
	fleettest.AsError[*fleetssh.TimeoutError](t, out.WaitFinished(fleettest.Soon(t)))
	fleettest.Equal(t, "outcome", out.Outcome(), fleetssh.Outcome{Kind: fleetssh.TimedOut})
	fleettest.Running(t, bystander, true)
	fleettest.Equal(t, "bystander finished", other.Finished(), false)
}

// A command that ends by itself, or is cancelled after its end, has ended.
func TestDropbearExit(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	c := fleettest.Dial(t, dropbearServer(t, sshdtest.Bob))
	out := fleettest.Start(t, c, fleetssh.Command{Line: "exit 3", Timeout: fleettest.Patience})
	fleettest.Equal(t, "code", fleettest.AsError[*fleetssh.ExitError](t, out.WaitFinished(fleettest.Soon(t))).Code, 3)
	out = fleettest.Start(t, c, fleetssh.Command{Line: "kill -9 $$", Timeout: fleettest.Patience})
	out.WaitFinished(fleettest.Soon(t))
	fleettest.Equal(t, "outcome", out.Outcome(), fleetssh.Outcome{Kind: fleetssh.Signaled, Signal: "KILL"})
}

// Interrupting a line of a console also interrupts its child processes.
func TestDropbearConsole(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	c := fleettest.Dial(t, dropbearServer(t, sshdtest.Bob))
	s, err := c.OpenConsole(fleettest.Soon(t))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close(fleettest.Soon(t))
	marker := sshdtest.Marker()
	defer sshdtest.Kill(marker)
	line, err := s.Run(fleettest.Soon(t), fleetssh.ConsoleLine{Text: "sleep " + marker})
	if err != nil {
		t.Fatal(err)
	}
	fleettest.Running(t, marker, true)
	fleettest.Equal(t, "Stop", line.Stop(fleettest.Soon(t)), nil)
	fleettest.Equal(t, "outcome", line.Outcome(), fleetssh.Outcome{Kind: fleetssh.Cancelled, Stopped: true})
	fleettest.Running(t, marker, false)
	line, err = s.Run(fleettest.Soon(t), fleetssh.ConsoleLine{Text: "trap '' INT TERM; sleep " + marker + "; sleep " + marker})
	if err != nil {
		t.Fatal(err)
	}
	fleettest.Running(t, marker, true)
	fleettest.Equal(t, "Stop", line.Stop(fleettest.Soon(t)), nil)
	fleettest.Equal(t, "outcome", line.Outcome(), fleetssh.Outcome{Kind: fleetssh.Cancelled, Stopped: true})
	fleettest.Running(t, marker, false)
}
