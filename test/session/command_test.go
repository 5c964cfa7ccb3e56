package session

import (
	"context"
	"errors"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"fleetssh"
	"fleetssh/internal/fleettest"
)

func TestCommandLine(t *testing.T) {
	t.Parallel()
	answer := func(context.Context, fleetssh.HostConfig) (string, error) { return "pw", nil }
	for _, test := range []struct {
		name string
		cmd  fleetssh.Command
		want string // a regular expression
	}{
		{"as it is", fleetssh.Command{Line: "echo 100% 'a'"}, `echo 100% 'a'`},
		{"shell", fleetssh.Command{Line: "echo it's", Shell: "bash -c"}, `bash -c 'echo it'\\''s'`},
		{"env", fleetssh.Command{Line: "env", Env: map[string]string{"B": "2 x", "A": "1"}}, `env A=1 B='2 x' \$SHELL -c env`},
		{"sudo", fleetssh.Command{Line: "id -u", Sudo: true}, `sudo -S -p '\w+%%\w+' -- \$SHELL -c 'id -u'`},
		{"user implies sudo", fleetssh.Command{Line: "id", User: "www data"}, `sudo -S -p '\w+%%\w+' -u 'www data' -- \$SHELL -c id`},
		{"sudo with password", fleetssh.Command{Line: "id", Sudo: true, SudoPassword: answer, Shell: "dash -c", Env: map[string]string{"A": "1"}},
			`sudo -S -p '\w+%%\w+' -- sh -c 'printf \w+%%\w+ >&2; exec "\$0" "\$@"' env A=1 dash -c id`},
		{"arguments", fleetssh.Command{Line: "ls %q", HostArgs: []fleetssh.Args{{List: []string{"a b"}}}}, `ls 'a b'`},
		{"arguments, shell", fleetssh.Command{Line: "ls %q", Shell: "sh -c", HostArgs: []fleetssh.Args{{List: []string{"a b"}}}}, `sh -c 'ls '\\''a b'\\'`},
		{"arguments, percent", fleetssh.Command{Line: "date +%%s", HostArgs: []fleetssh.Args{{}}}, `date \+%s`},
		{"charset", fleetssh.Command{Line: "echo ü", Encoding: "ISO-8859-1"}, "echo \xfc"},
	} {
		t.Run(test.name, func(t *testing.T) {
			line, err := test.cmd.CommandLine(0)
			if err != nil {
				t.Fatal(err)
			}
			if test.name == "charset" {
				if line != test.want {
					t.Errorf("got %q", line)
				}
				return
			}
			if !regexp.MustCompile("^" + test.want + "$").MatchString(line) {
				t.Errorf("got  %s\nwant %s", line, test.want)
			}
		})
	}
}

// TestWrappedLineReachesShell has real shells parse a wrapped line.
func TestWrappedLineReachesShell(t *testing.T) {
	t.Parallel()
	nasty := []string{"it's", `"`, `\`, "$HOME", "`id`", "a\nb", "!", "*", "", " ", `'\''`, "é", "%s"}
	for _, value := range nasty {
		cmd := fleetssh.Command{
			Line:     `printf '%%s|%%s' %q "$V"`,
			Shell:    "sh -c",
			Env:      map[string]string{"V": value},
			HostArgs: []fleetssh.Args{{List: []string{value}}},
		}
		line, err := cmd.CommandLine(0)
		if err != nil {
			t.Fatal(err)
		}
		for _, shell := range []string{"sh", "bash"} {
			out, err := exec.Command(shell, "-c", line).Output()
			if err != nil || string(out) != value+"|"+value {
				t.Errorf("%s reads %s as %q (%v), want %q", shell, line, out, err, value+"|"+value)
			}
		}
	}
}

func TestBadCommands(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		cmd  fleetssh.Command
		want string // in the error
		args bool   // a HostArgumentError, else a ConfigError
	}{
		{"NUL", fleetssh.Command{Line: "a\x00"}, "Command.Line", false},
		{"time", fleetssh.Command{Timeout: -1}, "Command.Timeout", false},
		{"stdin twice", fleetssh.Command{Stdin: strings.NewReader(""), OpenStdin: true}, "Command.OpenStdin", false},
		{"env name", fleetssh.Command{Env: map[string]string{"A B": ""}}, "Command.Env", false},
		{"env name is an injection", fleetssh.Command{Env: map[string]string{"A=1;id;B": ""}}, "Command.Env", false},
		{"encoding", fleetssh.Command{Encoding: "nope"}, "Command.Encoding", false},
		{"line not in the encoding", fleetssh.Command{Line: "日本", Encoding: "ISO-8859-1"}, "the line cannot be written in ISO-8859-1", true},
		{"arguments not in the encoding", fleetssh.Command{Line: "%s", Encoding: "ISO-8859-1", HostArgs: []fleetssh.Args{{List: []string{"a"}}, {List: []string{"€"}}}}, "arguments of host 1: the line cannot be written in ISO-8859-1", true},
		{"environment not in the encoding", fleetssh.Command{Line: "x", Encoding: "ISO-8859-1", Env: map[string]string{"A": "€"}}, "Command.Env: the value of A cannot be written in ISO-8859-1", false},
		{"shell not in the encoding", fleetssh.Command{Line: "x", Encoding: "ISO-8859-1", Shell: "€"}, "Command.Shell: it cannot be written in ISO-8859-1", false},
		{"user not in the encoding", fleetssh.Command{Line: "x", Encoding: "ISO-8859-1", User: "€"}, "Command.User: it cannot be written in ISO-8859-1", false},
		{"interpreter not in the encoding", fleetssh.Command{Encoding: "ISO-8859-1", Script: &fleetssh.Script{Text: []byte("#!/€\n")}}, "Command.Script.Text: its #! line cannot be written in ISO-8859-1", false},
		{"script argument not in the encoding", fleetssh.Command{Encoding: "ISO-8859-1", Script: &fleetssh.Script{Args: []string{"€"}}}, "ISO-8859-1", true},
		{"NUL in the shell", fleetssh.Command{Line: "x", Shell: "a\x00"}, "Command.Shell", false},
		{"NUL in the user", fleetssh.Command{Line: "x", User: "a\x00"}, "Command.User", false},
		{"empty arguments", fleetssh.Command{HostArgs: []fleetssh.Args{}}, "0 entries for 2 hosts", true},
		{"too few entries", fleetssh.Command{HostArgs: []fleetssh.Args{{}}}, "1 entries for 2 hosts", true},
		{"too many entries", fleetssh.Command{HostArgs: make([]fleetssh.Args, 3)}, "3 entries for 2 hosts", true},
		{"second host too few", fleetssh.Command{Line: "%s", HostArgs: []fleetssh.Args{{List: []string{"a"}}, {}}}, `arguments of host 1: placeholder "%s"`, true},
		{"missing name", fleetssh.Command{Line: "%(x)s", HostArgs: make([]fleetssh.Args, 2)}, `placeholder "%(x)s"`, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			server := fleettest.NewServer(t, nil)
			p := fleettest.NewFleet(t, server.Config(), server.Config())
			outs, err := p.RunCommand(t.Context(), test.cmd)
			_, isArgs := errors.AsType[*fleetssh.HostArgumentError](err)
			_, isConfig := errors.AsType[*fleetssh.ConfigError](err)
			if outs != nil || err == nil || isArgs != test.args || isConfig == test.args || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v, %v", outs, err)
			}
			if _, err := p.Stream(t.Context(), test.cmd); err == nil {
				t.Error("Stream accepts it")
			}
			if n := server.Stats().Connections; n != 0 {
				t.Errorf("%d connections, want none", n)
			}
		})
	}
}
