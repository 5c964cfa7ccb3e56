package fleetssh_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"fleetssh"
	"fleetssh/internal/sshdtest"
)

// A login shell runs what it is given, in order, and keeps what commands change.
func TestSSHDOpenShell(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	for _, account := range append(sshdtest.ShellAccounts(t), "root") {
		_, host, _ := accountServer(t, account, sshdtest.Options{})
		t.Run(account, func(t *testing.T) {
			t.Parallel()
			s, err := dial(t, host).OpenShell(soon(t))
			if err != nil {
				t.Fatal(err)
			}
			for _, lines := range []string{"cd /usr", "pwd\necho two", "sh -c 'echo three >&2; exit 4'\n"} {
				equal(t, "run", s.Run(soon(t), lines), nil)
			}
			equal(t, "code", asError[*fleetssh.ExitError](t, s.Close(soon(t))).Code, 4)
			stdout := text(t, s.Stdout)
			if _, said, greets := strings.Cut(stdout, "Thus no job control in this shell.\n"); greets {
				stdout = said // csh
			}
			equal(t, "stdout", stdout, "/usr\ntwo\n")
			equal(t, "stderr", text(t, s.Stderr), "three\n")
			equal(t, "run after the end", s.Run(soon(t), "true") != nil, true)
			asError[*fleetssh.ExitError](t, s.Close(soon(t))) // as before
		})
	}
}

func TestSSHDOpenShells(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	_, host := startServer(t, sshdtest.Options{})
	wrong := host
	wrong.HostKeys = trust(t)
	p := newFleet(t, host, wrong, host)
	shells, err := p.OpenShells(soon(t))
	failed := asError[*fleetssh.HostsError](t, err)
	equal(t, "failed", len(failed.Failed), 1)
	equal(t, "host", failed.Failed[0].Host, 1)
	asError[*fleetssh.HostKeyError](t, shells[1].Err)
	asError[*fleetssh.HostKeyError](t, shells[1].Run(soon(t), "true"))
	asError[*fleetssh.HostKeyError](t, shells[1].Close(soon(t)))
	for _, s := range []*fleetssh.Shell{shells[0], shells[2]} {
		equal(t, "run", s.Run(soon(t), "echo a"), nil)
		equal(t, "close", s.Close(soon(t)), nil)
		equal(t, "stdout", text(t, s.Stdout), "a\n")
	}
	consoles, err := p.OpenConsoles(soon(t))
	asError[*fleetssh.HostsError](t, err)
	asError[*fleetssh.HostKeyError](t, consoles[1].Err)
	_, err = consoles[1].Run(soon(t), fleetssh.ConsoleLine{Text: "true"})
	asError[*fleetssh.HostKeyError](t, err)
	equal(t, "finished", consoles[1].Finished(), true)
	for _, c := range consoles {
		c.Close(soon(t))
	}
}

// A shell that reads nothing holds up nobody who has no patience.
func TestSSHDOpenShellReadsNothing(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	_, host := startServer(t, sshdtest.Options{})
	c := dial(t, host)
	s, err := c.OpenShell(soon(t))
	equal(t, "open", err, nil)
	equal(t, "run", s.Run(soon(t), "sleep 1000"), nil)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	asError[*fleetssh.TimeoutError](t, s.Run(ctx, string(make([]byte, 4<<20))))
	asError[*fleetssh.TimeoutError](t, s.Close(ctx))
	c.Close()
}
