package session

import (
	"context"
	"strings"
	"testing"
	"time"

	"fleetssh"
	"fleetssh/internal/fleettest"
	"fleetssh/internal/sshdtest"
)

// A login shell runs its lines in order and keeps the changes that they make.
func TestSSHDOpenShell(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	for _, account := range append(sshdtest.ShellAccounts(t), "root") {
		_, host, _ := fleettest.AccountSSHD(t, account, sshdtest.Options{})
		t.Run(account, func(t *testing.T) {
			t.Parallel()
			s, err := fleettest.Dial(t, host).OpenShell(fleettest.Soon(t))
			if err != nil {
				t.Fatal(err)
			}
			for _, lines := range []string{"cd /usr", "pwd\necho two", "sh -c 'echo three >&2; exit 4'\n"} {
				fleettest.Equal(t, "run", s.Run(fleettest.Soon(t), lines), nil)
			}
			fleettest.Equal(t, "code", fleettest.AsError[*fleetssh.ExitError](t, s.Close(fleettest.Soon(t))).Code, 4)
			stdout := fleettest.Text(t, s.Stdout)
			if _, said, greets := strings.Cut(stdout, "Thus no job control in this shell.\n"); greets {
				stdout = said // csh
			}
			fleettest.Equal(t, "stdout", stdout, "/usr\ntwo\n")
			fleettest.Equal(t, "stderr", fleettest.Text(t, s.Stderr), "three\n")
			fleettest.Equal(t, "run after the end", s.Run(fleettest.Soon(t), "true") != nil, true)
			fleettest.AsError[*fleetssh.ExitError](t, s.Close(fleettest.Soon(t))) // the same error again
		})
	}
}

func TestSSHDOpenShells(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	_, host := fleettest.StartSSHD(t, sshdtest.Options{})
	wrong := host
	wrong.HostKeys = fleettest.Trust(t)
	p := fleettest.NewFleet(t, host, wrong, host)
	shells, err := p.OpenShells(fleettest.Soon(t))
	failed := fleettest.AsError[*fleetssh.HostsError](t, err)
	fleettest.Equal(t, "failed", len(failed.Failed), 1)
	fleettest.Equal(t, "host", failed.Failed[0].Index, 1)
	fleettest.AsError[*fleetssh.HostKeyError](t, shells[1].Err)
	fleettest.AsError[*fleetssh.HostKeyError](t, shells[1].Run(fleettest.Soon(t), "true"))
	fleettest.AsError[*fleetssh.HostKeyError](t, shells[1].Close(fleettest.Soon(t)))
	for _, s := range []*fleetssh.Shell{shells[0], shells[2]} {
		fleettest.Equal(t, "run", s.Run(fleettest.Soon(t), "echo a"), nil)
		fleettest.Equal(t, "close", s.Close(fleettest.Soon(t)), nil)
		fleettest.Equal(t, "stdout", fleettest.Text(t, s.Stdout), "a\n")
	}
	consoles, err := p.OpenConsoles(fleettest.Soon(t))
	fleettest.AsError[*fleetssh.HostsError](t, err)
	fleettest.AsError[*fleetssh.HostKeyError](t, consoles[1].Err)
	_, err = consoles[1].Run(fleettest.Soon(t), fleetssh.ConsoleLine{Text: "true"})
	fleettest.AsError[*fleetssh.HostKeyError](t, err)
	fleettest.Equal(t, "finished", consoles[1].Finished(), true)
	for _, c := range consoles {
		c.Close(fleettest.Soon(t))
	}
}

// A shell that does not read delays only callers without a deadline.
func TestSSHDOpenShellReadsNothing(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	_, host := fleettest.StartSSHD(t, sshdtest.Options{})
	c := fleettest.Dial(t, host)
	s, err := c.OpenShell(fleettest.Soon(t))
	fleettest.Equal(t, "open", err, nil)
	fleettest.Equal(t, "run", s.Run(fleettest.Soon(t), "sleep 1000"), nil)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	fleettest.AsError[*fleetssh.TimeoutError](t, s.Run(ctx, string(make([]byte, 4<<20))))
	fleettest.AsError[*fleetssh.TimeoutError](t, s.Close(ctx))
	c.Close()
}
