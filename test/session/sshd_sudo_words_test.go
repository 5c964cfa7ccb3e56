package session

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"

	"fleetssh"
	"fleetssh/internal/fleettest"
	"fleetssh/internal/sshdtest"
)

// sentinelsOf returns the random sentinels of a command line.
func sentinelsOf(line string) []string {
	return regexp.MustCompile(`[A-Z2-7]{20,}`).FindAllString(line, -1)
}

// expectNoSecrets expects the visible output to contain no sentinel of the command line, no
// password and no sudo prompt.
func expectNoSecrets(t testing.TB, out *fleetssh.HostOutput, shown ...string) {
	t.Helper()
	password := sshdtest.Accounts(t)
	for _, text := range shown {
		for _, word := range append(sentinelsOf(out.CommandLine), password, "[sudo", "Password:", `exec "$0"`) {
			if strings.Contains(text, word) {
				t.Errorf("%q is in %q", word, text)
			}
		}
	}
}

// A tracing login shell quotes the whole command line on standard error. The library still
// tells trace and command apart: the command has run with its whole input, and only sudo got
// the password, if it asked.
func TestSSHDSudoTraced(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	all := fleettest.Together{T: t}
	defer all.Wait()
	for _, trace := range []string{"set -x", "set -v", "set -xv", "set -x; PS4='[sudo: '"} {
		all.Run(trace, func(t *testing.T) {
			sshdtest.CheckLeaks(t)
			home := sshdtest.SharedDir(t)
			if err := os.WriteFile(filepath.Join(home, ".bashrc"), []byte(trace+"\n"), 0o644); err != nil {
				t.Fatal(err)
			}
			for account, questions := range map[string]int32{sshdtest.Alice: 1, sshdtest.Carol: 0} {
				_, host, password := fleettest.AccountSSHD(t, account, sshdtest.Options{Config: []string{"SetEnv HOME=" + home}})
				c := fleettest.Dial(t, host)
				for _, pty := range []*fleetssh.PTY{nil, {}} {
					var asked atomic.Int32
					cmd := fleetssh.Command{Line: "id -un; exit 7", Sudo: true, PTY: pty, SudoPassword: func(context.Context, fleetssh.HostConfig) (string, error) {
						asked.Add(1)
						return password, nil
					}}
					want := "root\n"
					if pty == nil {
						cmd.Line, cmd.Stdin, want = "id -un; cat; exit 7", strings.NewReader("first\nsecond\n"), "root\nfirst\nsecond\n"
					}
					out, stdout, stderr, err := fleettest.RunCommand(t, c, cmd)
					fleettest.Equal(t, "code", fleettest.AsError[*fleetssh.ExitError](t, err).Code, 7)
					fleettest.Equal(t, "questions", asked.Load(), questions)
					if pty == nil {
						fleettest.Equal(t, "output", stdout, want)
					} else {
						fleettest.Contains(t, stdout, "root\r\n")
					}
					if trace != "set -v" { // set -v shows nothing of bash -c
						fleettest.Contains(t, stdout+stderr, "sudo -- /bin/bash -c")
					}
					expectNoSecrets(t, out, strings.ReplaceAll(stdout+stderr, "[sudo: ", "")) // of PS4
				}
			}
		})
	}
}

// sudo's refusal quotes the command line. The command has not run, and the message shows the
// user's command.
func TestSSHDSudoRefusedCommand(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	const account = "fleet-fish" // no other test uses this account with sudo
	sshdtest.Sudoers(t, account+" ALL=(root) /usr/bin/id")
	_, c, _ := sudoServer(t, account)
	for _, pty := range []*fleetssh.PTY{nil, {}} {
		out, stdout, stderr, err := fleettest.RunCommand(t, c, fleetssh.Command{Line: "id -un", Sudo: true, PTY: pty, SudoPassword: accountPassword})
		fleettest.Equal(t, "phase", fleettest.AsError[*fleetssh.SessionError](t, err).Phase, "sudo")
		fleettest.Equal(t, "outcome", out.Outcome(), fleetssh.Outcome{Kind: fleetssh.NotStarted, Phase: "sudo"})
		fleettest.Contains(t, stdout+stderr, "Sorry, user "+account+" is not allowed to execute '/usr/bin/fish -c id -un' as root")
		fleettest.Equal(t, "times it is said", strings.Count(stdout+stderr, "not allowed"), 1)
		expectNoSecrets(t, out, stdout, stderr)
	}
}

// A sudo that requires a terminal is recognised; with a terminal, it runs the command.
func TestSSHDSudoRequiretty(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	const account = "fleet-tcsh"
	sshdtest.Sudoers(t, account+" ALL=(ALL:ALL) ALL", "Defaults:"+account+" requiretty")
	_, c, _ := sudoServer(t, account)
	out, stdout, stderr, err := fleettest.RunCommand(t, c, fleetssh.Command{Line: "id -un", Sudo: true, SudoPassword: accountPassword})
	fleettest.Equal(t, "error", errors.Is(fleettest.AsError[*fleetssh.SessionError](t, err), fleetssh.ErrTerminalRequired), true)
	fleettest.Equal(t, "outcome", out.Outcome(), fleetssh.Outcome{Kind: fleetssh.NotStarted, Phase: "sudo"})
	fleettest.Contains(t, stderr, "you must have a tty")
	expectNoSecrets(t, out, stdout, stderr)
	out, stdout, _, err = fleettest.RunCommand(t, c, fleetssh.Command{Line: "id -un", Sudo: true, PTY: &fleetssh.PTY{}, SudoPassword: accountPassword})
	fleettest.Equal(t, "error", err, nil)
	fleettest.Equal(t, "output", stdout, "root\r\n")
	expectNoSecrets(t, out, stdout)
}

// A refused password is reported as refused, whether or not sudo asks again.
func TestSSHDSudoOneTry(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	const account = "fleet-zsh"
	sshdtest.Sudoers(t, account+" ALL=(ALL:ALL) ALL", "Defaults:"+account+" passwd_tries=1")
	_, c, _ := sudoServer(t, account)
	for _, pty := range []*fleetssh.PTY{nil, {}} {
		out, stdout, stderr, err := fleettest.RunCommand(t, c, fleetssh.Command{Line: "id -un", Sudo: true, PTY: pty,
			SudoPassword: func(context.Context, fleetssh.HostConfig) (string, error) { return "wr0ng", nil }})
		fleettest.Contains(t, fleettest.AsError[*fleetssh.SessionError](t, err).Error(), "wrong password")
		fleettest.Equal(t, "outcome", out.Outcome(), fleetssh.Outcome{Kind: fleetssh.NotStarted, Phase: "sudo"})
		fleettest.Equal(t, "times it is said", strings.Count(stdout+stderr, "1 incorrect password attempt"), 1)
		expectNoSecrets(t, out, stdout, stderr)
	}
	// A command with the same exit code or output as a refusal has run.
	out, _, stderr, err := fleettest.RunCommand(t, c, fleetssh.Command{Line: "echo 'sudo: 1 incorrect password attempt' >&2; exit 1", Sudo: true, SudoPassword: accountPassword})
	fleettest.Equal(t, "code", fleettest.AsError[*fleetssh.ExitError](t, err).Code, 1)
	fleettest.Equal(t, "outcome", out.Outcome(), fleetssh.Outcome{Kind: fleetssh.Exited, ExitCode: 1})
	fleettest.Equal(t, "output", stderr, "sudo: 1 incorrect password attempt\n")
}
