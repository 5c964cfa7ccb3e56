package session

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"fleetssh"
	"fleetssh/internal/fleettest"
	"fleetssh/internal/sshdtest"
)

// sudoServer starts a server for an account and returns a client and the password.
func sudoServer(t testing.TB, account string) (*sshdtest.Server, *fleetssh.Client, string) {
	t.Helper()
	s, host, password := fleettest.AccountSSHD(t, account, sshdtest.Options{})
	host.Auth.Password = password
	return s, fleettest.Dial(t, host), password
}

// clean expects the visible output to contain no password and none of the sentinels between
// fleetssh and sudo.
func clean(t testing.TB, password string, outputs ...string) {
	t.Helper()
	for _, o := range outputs {
		for _, word := range []string{password, "[sudo-", "[started-"} {
			if strings.Contains(o, word) {
				t.Errorf("%q in %q", word, o)
			}
		}
	}
}

func TestSSHDSudo(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	all := fleettest.Together{T: t}
	defer all.Wait()
	data := fleettest.Noise(1<<20 + 7)
	terminal := &fleetssh.PTY{}
	for _, account := range []struct {
		name     string
		password func(context.Context, fleetssh.HostConfig) (string, error)
	}{
		{sshdtest.Alice, accountPassword},
		{sshdtest.Carol, accountPassword}, // is not asked
		{sshdtest.Carol, nil},
	} {
		name := account.name
		if account.password != nil {
			name += " with a password"
		}
		all.Run(name, func(t *testing.T) {
			sshdtest.CheckLeaks(t)
			s, c, password := sudoServer(t, account.name)
			for _, test := range []struct {
				name        string
				command     fleetssh.Command
				out, errOut string
			}{
				{"root", fleetssh.Command{Line: "id -un; id -un >&2"}, "root\n", "root\n"},
				{"another user", fleetssh.Command{Line: "id -un", User: sshdtest.Bob}, sshdtest.Bob + "\n", ""},
				{"shell", fleetssh.Command{Line: `echo "it's $0"`, Shell: "sh -c"}, "it's sh\n", ""},
				{"quotes", fleetssh.Command{Line: `echo 'a  b' "c'd" \"e! $(echo '$x')`}, "a  b c'd \"e! $x\n", ""},
				{"no input", fleetssh.Command{Line: "cat; echo end"}, "end\n", ""},
				{"input", fleetssh.Command{Line: "cat", Stdin: strings.NewReader("first\nsecond\n")}, "first\nsecond\n", ""},
				{"binary input", fleetssh.Command{Line: "cat", Stdin: bytes.NewReader(data)}, string(data), ""},
				{"environment", fleetssh.Command{Line: `printf %s "$ODD"`, Env: map[string]string{"ODD": "it's\n!$x"}}, "it's\n!$x", ""},
				{"terminal", fleetssh.Command{Line: "id -un; test -t 0 && echo terminal", PTY: terminal}, "root\r\nterminal\r\n", ""},
				{"placeholders", fleetssh.Command{Line: "printf '<%%s>' %q", HostArgs: []fleetssh.Args{{List: []string{"a 'b' !"}}}}, "<a 'b' !>", ""},
			} {
				cmd := test.command
				cmd.Sudo, cmd.SudoPassword = true, account.password
				if account.password == nil && cmd.PTY != nil {
					continue // as without sudo
				}
				out, stdout, stderr, err := fleettest.RunCommand(t, c, cmd)
				if err != nil || stdout != test.out || stderr != test.errOut {
					t.Errorf("%s: %v\n%.300s\nstdout %.300q\nwant   %.300q\nstderr %.300q", test.name, err, out.CommandLine, stdout, test.out, stderr)
				}
				clean(t, password, stdout, stderr)
			}
			out, _, _, err := fleettest.RunCommand(t, c, fleetssh.Command{Line: "exit 42", Sudo: true, SudoPassword: account.password})
			fleettest.Equal(t, "code", fleettest.AsError[*fleetssh.ExitError](t, err).Code, 42)
			fleettest.Equal(t, "outcome", out.Outcome(), fleetssh.Outcome{Kind: fleetssh.Exited, ExitCode: 42})
			clean(t, password, s.Log())
		})
	}
}

func TestSSHDSudoInputLater(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	for _, account := range []string{sshdtest.Alice, sshdtest.Carol} {
		_, c, _ := sudoServer(t, account)
		out := fleettest.Start(t, c, fleetssh.Command{Line: "read x; echo \"<$x>\"; cat", Sudo: true, SudoPassword: accountPassword, OpenStdin: true})
		if _, err := out.Stdin.Write([]byte("one\ntwo\n")); err != nil {
			t.Fatal(err)
		}
		fleettest.Equal(t, "error", out.WaitFinished(fleettest.Soon(t)), nil)
		fleettest.Equal(t, "output of "+account, fleettest.Text(t, out.Stdout), "<one>\ntwo\n")
	}
}

// A wrong password is tried once, and the command has not run.
func TestSSHDSudoWrongPassword(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	all := fleettest.Together{T: t}
	defer all.Wait()
	for _, pty := range []*fleetssh.PTY{nil, {}} {
		name := "plain"
		if pty != nil {
			name = "terminal"
		}
		all.Run(name, func(t *testing.T) {
			sshdtest.CheckLeaks(t)
			_, c, _ := sudoServer(t, sshdtest.Alice)
			trace := filepath.Join(sshdtest.SharedDir(t), "trace")
			var asked atomic.Int32
			out, stdout, stderr, err := fleettest.RunCommand(t, c, fleetssh.Command{
				Line: "touch " + trace, Sudo: true, PTY: pty, Stdin: strings.NewReader("input\n"),
				SudoPassword: func(context.Context, fleetssh.HostConfig) (string, error) {
					asked.Add(1)
					return "wr0ng", nil
				},
			})
			e := fleettest.AsError[*fleetssh.SessionError](t, err)
			fleettest.Equal(t, "phase", e.Phase, "sudo")
			fleettest.Contains(t, e.Error(), "wrong password", c.Host().Host)
			fleettest.Equal(t, "outcome", out.Outcome(), fleetssh.Outcome{Kind: fleetssh.NotStarted, Phase: "sudo"})
			fleettest.Equal(t, "questions", asked.Load(), 1)
			clean(t, "wr0ng", stdout, stderr, err.Error())
			if _, err := os.Stat(trace); err == nil {
				t.Error("the command has run")
			}
			fleettest.Contains(t, stdout+stderr, "Sorry, try again.")
			if strings.Contains(stdout+stderr, "2 incorrect") || strings.Contains(stdout+stderr, "3 incorrect") {
				t.Errorf("more than one attempt: %q", stdout+stderr)
			}
			fleettest.Equal(t, "output", fleettest.Output(t, c, "echo alive"), "alive\n")
		})
	}
}

func TestSSHDSudoRefused(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	_, c, password := sudoServer(t, sshdtest.Bob)
	t.Run("not in sudoers", func(t *testing.T) {
		out, stdout, stderr, err := fleettest.RunCommand(t, c, fleetssh.Command{Line: "id -un", Sudo: true, SudoPassword: accountPassword})
		fleettest.Equal(t, "phase", fleettest.AsError[*fleetssh.SessionError](t, err).Phase, "sudo")
		fleettest.Equal(t, "outcome", out.Outcome(), fleetssh.Outcome{Kind: fleetssh.NotStarted, Phase: "sudo"})
		fleettest.Contains(t, stderr, "not in the sudoers file")
		clean(t, password, stdout, stderr)
	})
	for _, pty := range []*fleetssh.PTY{nil, {}} {
		t.Run(fmt.Sprintf("SudoPassword fails, terminal %v", pty != nil), func(t *testing.T) {
			out, stdout, stderr, err := fleettest.RunCommand(t, c, fleetssh.Command{
				Line: "id -un", Sudo: true, PTY: pty,
				SudoPassword: func(context.Context, fleetssh.HostConfig) (string, error) { return "", os.ErrNotExist },
			})
			e := fleettest.AsError[*fleetssh.SessionError](t, err)
			fleettest.Equal(t, "phase", e.Phase, "sudo")
			fleettest.Contains(t, e.Error(), os.ErrNotExist.Error())
			fleettest.Equal(t, "outcome", out.Outcome(), fleetssh.Outcome{Kind: fleetssh.NotStarted, Phase: "sudo"})
			clean(t, password, stdout, stderr)
		})
	}
	t.Run("no such user", func(t *testing.T) {
		_, _, stderr, err := fleettest.RunCommand(t, c, fleetssh.Command{Line: "id -un", User: "no-such-user", SudoPassword: accountPassword})
		fleettest.AsError[*fleetssh.SessionError](t, err)
		fleettest.Contains(t, stderr, "no-such-user")
	})
	t.Run("no answer", func(t *testing.T) {
		// Without a password, sudo reads standard input, which is empty.
		_, _, _, err := fleettest.RunCommand(t, c, fleetssh.Command{Line: "id -un", Sudo: true})
		fleettest.Equal(t, "code", fleettest.AsError[*fleetssh.ExitError](t, err).Code, 1)
	})
}

// Without SudoPassword the user answers on standard input.
func TestSSHDSudoAnsweredByUser(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	_, c, password := sudoServer(t, sshdtest.Alice)
	out := fleettest.Start(t, c, fleetssh.Command{Line: "id -un; cat", Sudo: true, OpenStdin: true})
	if _, err := out.Stdin.Write([]byte(password + "\nrest\n")); err != nil {
		t.Fatal(err)
	}
	fleettest.Equal(t, "error", out.WaitFinished(fleettest.Soon(t)), nil)
	fleettest.Equal(t, "output", fleettest.Text(t, out.Stdout), "root\nrest\n")
	clean(t, password, fleettest.Text(t, out.Stderr))
	_, stdout, _, err := fleettest.RunCommand(t, c, fleetssh.Command{Line: "cat", Sudo: true, Stdin: strings.NewReader(password + "\nrest\n")})
	fleettest.Equal(t, "error", err, nil)
	fleettest.Equal(t, "output", stdout, "rest\n")
}

// The password is not visible anywhere while the command runs.
func TestSSHDSudoPasswordIsSecret(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	s, c, password := sudoServer(t, sshdtest.Alice)
	marker := sshdtest.Marker()
	out := fleettest.Start(t, c, fleetssh.Command{Line: "sleep " + marker, Sudo: true, SudoPassword: accountPassword})
	fleettest.Running(t, marker, true)
	for _, name := range []string{"cmdline", "environ"} {
		files, _ := filepath.Glob("/proc/[0-9]*/" + name)
		for _, file := range files {
			if data, err := os.ReadFile(file); err == nil && bytes.Contains(data, []byte(password)) {
				t.Errorf("the password is in %s", file)
			}
		}
	}
	fleettest.Equal(t, "stop", out.Stop(fleettest.Soon(t)), nil)
	if strings.Contains(s.Log()+out.CommandLine, password) {
		t.Error("the password is in the log of sshd or in the command line")
	}
	fleettest.Running(t, marker, false)
}
