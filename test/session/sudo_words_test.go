package session

import (
	"context"
	"strings"
	"testing"

	"fleetssh"
	"fleetssh/internal/fleettest"
	"fleetssh/internal/simfleet"
)

// sudo-rs puts text around the prompt and ends its line; a shell may trace the command line. In
// every case the output hides the sentinels and the prompt, and the library knows whether the
// command has run.
func TestSudoRS(t *testing.T) {
	t.Parallel()
	const (
		trace  = "+ sudo -- /bin/sh -c 'whoami; stderr e; exit 3'\n"
		again  = "sudo: Authentication failed, try again.\n"
		cannot = "sudo: I'm sorry alice. I'm afraid I can't do that\n"
	)
	for _, test := range []struct {
		name, password, answer string
		refuse, trace          bool
		said                   string // before the command, or instead of it
		runs                   bool
	}{
		{"right", "open sesame", "open sesame", false, false, "", true},
		{"not asked", "", "open sesame", false, false, "", true},
		{"traced", "open sesame", "open sesame", false, true, trace, true},
		{"traced, not asked", "", "open sesame", false, true, trace, true},
		{"wrong", "open sesame", "wr0ng", false, false, again, false},
		{"wrong and traced", "open sesame", "wr0ng", false, true, trace + again, false},
		{"refused", "open sesame", "open sesame", true, false, cannot, false},
		{"refused and traced", "open sesame", "open sesame", true, true, trace + cannot, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			host := fleettest.NewServer(t, func(h *simfleet.Host) {
				h.SudoPassword, h.SudoRS, h.RefuseSudo, h.Trace = test.password, true, test.refuse, test.trace
			}).Config()
			host.User = "alice"
			c := fleettest.Dial(t, host)
			stdout, stderr, outcome := "", test.said, fleetssh.Outcome{Kind: fleetssh.NotStarted, Phase: "sudo"}
			terminal := test.said
			if test.runs {
				stdout, stderr, outcome = "root\n", test.said+"e\n", fleetssh.Outcome{Kind: fleetssh.Exited, ExitCode: 3}
				terminal += "root\ne\n"
			}
			cmd := fleetssh.Command{Line: "whoami; stderr e; exit 3", Sudo: true,
				SudoPassword: func(context.Context, fleetssh.HostConfig) (string, error) { return test.answer, nil }}
			out, gotOut, gotErr, _ := fleettest.RunCommand(t, c, cmd)
			fleettest.Equal(t, "outcome", out.Outcome(), outcome)
			fleettest.Equal(t, "stdout", gotOut, stdout)
			fleettest.Equal(t, "stderr", gotErr, stderr)
			cmd.PTY = &fleetssh.PTY{}
			out, gotOut, _, _ = fleettest.RunCommand(t, c, cmd)
			fleettest.Equal(t, "outcome on a terminal", out.Outcome(), outcome)
			fleettest.Equal(t, "terminal", gotOut, strings.ReplaceAll(terminal, "\n", "\r\n"))
		})
	}
}

// Without SudoPassword, the user's answer goes to sudo-rs, and its prompt is hidden too.
func TestSudoRSAnsweredByUser(t *testing.T) {
	t.Parallel()
	c := fleettest.NewServer(t, func(h *simfleet.Host) { h.SudoPassword, h.SudoRS, h.Trace = "open sesame", true, true }).Dial(t)
	_, stdout, stderr, err := fleettest.RunCommand(t, c, fleetssh.Command{Line: "whoami; cat; stderr e", Sudo: true, Stdin: strings.NewReader("open sesame\nrest\n")})
	fleettest.Equal(t, "error", err, nil)
	fleettest.Equal(t, "stdout", stdout, "root\nrest\n")
	fleettest.Equal(t, "stderr", stderr, "+ sudo -- /bin/sh -c 'whoami; cat; stderr e'\ne\n")
}
