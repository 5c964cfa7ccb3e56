package simfleet

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
)

func TestShell(t *testing.T) {
	t.Parallel()
	s := start(t, Host{Name: "web1"})
	client := dial(t, s)
	tests := []struct {
		name, line, stdin string
		want              result
	}{
		{"true", "true", "", result{}},
		{"false", "false", "", result{code: 1}},
		{"exit", "exit 42; echo no", "", result{code: 42}},
		{"echo", "echo a  b; echo -n c", "", result{stdout: "a b\nc"}},
		{"quotes", `echo 'a  $USER'  "b  $USER" c\ \ d \$x`, "", result{stdout: "a  $USER b  alice c  d $x\n"}},
		{"quoted quotes", `echo 'it'\''s' "say \"hi\"" "a\b"`, "", result{stdout: `it's say "hi" a\b` + "\n"}},
		{"empty words", `printf '%s|' "" '' $NOTHING x`, "", result{stdout: "||x|"}},
		{"variables", "echo $HOSTNAME ${USER}x $SHELL $? $", "", result{stdout: "web1 alicex /bin/sh 0 $\n"}},
		{"status", "false; echo $?; true; echo $?", "", result{stdout: "1\n0\n"}},
		{"and", "true && echo a && false && echo b; echo c", "", result{stdout: "a\nc\n"}},
		{"or", "false || echo a || echo b", "", result{stdout: "a\n"}},
		{"braces", "{ echo a; echo b >&2; nosuch; } 2>/dev/null; echo c; { echo d; { echo e; stderr f; }; } >&2", "", result{stdout: "a\nc\n", stderr: "d\ne\nf\n"}},
		{"open brace", "{ echo a", "", result{stderr: "sh: 1: Syntax error: end of file unexpected (expecting \"}\")\n", code: 2}},
		{"words that are braces", "echo { } a}", "", result{stdout: "{ } a}\n"}},
		{"newlines", "echo a\n\necho b # c\necho d", "", result{stdout: "a\nb\nd\n"}},
		{"to stderr", "echo a >&2; echo b 1>&2; stderr c", "", result{stderr: "a\nb\nc\n"}},
		{"to nothing", "echo a >/dev/null; nothing 2> /dev/null; echo b", "", result{stdout: "b\n"}},
		{"from nothing", "cat </dev/null", "", result{}},
		{"both", "stderr a 2>&1", "", result{stdout: "a\n"}},
		{"to a file", "echo a > /tmp/x; echo b >> /tmp/x; cat /tmp/x", "", result{stdout: "a\nb\n"}},
		{"to no directory", "echo a > /nowhere/x", "", result{stderr: "sh: 1: cannot create /nowhere/x: No such file or directory\n", code: 2}},
		{"from a file", "echo a > f; cat < f; rm f; cat < f", "", result{stdout: "a\n", stderr: "sh: 1: cannot open f: No such file or directory\n", code: 2}},
		{"files", "mkdir -p d/e && echo hi > d/f && mv d/f d/e && ls d d/e && rm d; rm -r d && ls", "", result{stdout: "e\nf\n", stderr: "rm: cannot remove 'd': Is a directory\n"}},
		{"sums", "printf hello > s; sha256sum s; head -c 2 s; rm -f s nothing", "", result{stdout: "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824  s\nhe"}},
		{"no file", "cat nothing; ls nothing", "", result{stderr: "cat: nothing: No such file or directory\nls: cannot access 'nothing': No such file or directory\n", code: 2}},
		{"unknown", "frobnicate --now", "", result{stderr: "sh: 1: frobnicate: not found\n", code: 127}},
		{"pipe", "echo a | cat", "", result{stderr: "sh: 1: Syntax error: \"|\" unexpected\n", code: 2}},
		{"unterminated", "echo 'a", "", result{stderr: "sh: 1: Syntax error: Unterminated quoted string\n", code: 2}},
		{"assignment", "X=1; echo $X; X=2 printenv X; echo $X", "", result{stdout: "1\n2\n1\n"}},
		{"export", "export A=b; sh -c 'echo $A'", "", result{stdout: "b\n"}},
		{"env", "env A=1 B='2 3' sh -c 'echo \"$A $B\"'", "", result{stdout: "1 2 3\n"}},
		{"cd", "cd /srv && pwd", "", result{stdout: "/srv\n"}},
		{"nested", `$SHELL -c 'sh -c "echo a; exit 3"; echo $?'`, "", result{stdout: "a\n3\n"}},
		{"exec", "exec sh -c 'exit 4'; echo no", "", result{code: 4}},
		{"who", "whoami; id -u; hostname; uname -n", "", result{stdout: "alice\n1000\nweb1\nweb1\n"}},
		{"cat", "cat", "in\nput", result{stdout: "in\nput"}},
		{"head", "head -c 3; head -n 1; cat", "abcd\nef", result{stdout: "abcd\nef"}},
		{"wc", "wc -c", strings.Repeat("x", 100_000), result{stdout: "100000\n"}},
		{"cksum", "cksum", "hello\n", result{stdout: "3015617425 6\n"}},
		{"lines", "lines 2; lines 1 x y", "", result{stdout: "1 line\n2 line\n1 x y\n"}},
		{"arguments", `sh -c 'echo $# "$1"; exec "$0" "$@"' echo 'a  b' c`, "", result{stdout: "2 a  b\na  b c\n"}},
		{"lines of stdin", "sh", "echo a\nexit 5\necho b", result{stdout: "a\n", code: 5}},
		{"kill", "echo a; kill -TERM $$; echo b", "", result{stdout: "a\n", signal: "TERM"}},
		{"kill nested", "sh -c 'kill -9 $$'; echo b", "", result{signal: "KILL"}},
		{"kill nobody", "kill 99", "", result{stderr: "kill: No such process\n", code: 1}},
		{"sleep", "sleep 0.001; echo a", "", result{stdout: "a\n"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := runLine(t, client, test.line, test.stdin); got != test.want {
				t.Errorf("%q:\n got %+v\nwant %+v", test.line, got, test.want)
			}
		})
	}
	if r := runLine(t, client, "bytes 1000000", ""); len(r.stdout) != 1_000_000 || r.stdout[63] != '\n' {
		t.Errorf("%d bytes", len(r.stdout))
	}
}

func TestSudo(t *testing.T) {
	t.Parallel()
	const sorry = "Sorry, try again.\n"
	const line = "sudo -S -p 'T:' -- sh -c 'whoami; cat'"
	tests := []struct {
		name, password, line, stdin string
		want                        result
	}{
		{"no password", "", "sudo whoami", "", result{stdout: "root\n"}},
		{"other user", "", "sudo -n -u bob id -un", "", result{stdout: "bob\n"}},
		{"right", "pw", line, "pw\nrest", result{stdout: "root\nrest", stderr: "T:"}},
		{"second try", "pw", line, "no\npw\nrest", result{stdout: "root\nrest", stderr: "T:" + sorry + "T:"}},
		{"wrong", "pw", line, "a\nb\nc\nd\n",
			result{stderr: "T:" + sorry + "T:" + sorry + "T:sudo: 3 incorrect password attempts\n", code: 1}},
		{"wrong once", "pw", line, "a\n", result{stderr: "T:" + sorry + "T:sudo: 1 incorrect password attempt\n", code: 1}},
		{"no input", "pw", line, "", result{stderr: "T:sudo: no password was provided\nsudo: a password is required\n", code: 1}},
		{"not interactive", "pw", "sudo -n true", "", result{stderr: "sudo: a password is required\n", code: 1}},
		{"variables", "", "sudo A=b sh -c 'echo $A $SUDO_USER $HOME'; whoami", "", result{stdout: "b alice /root\nalice\n"}},
		{"status", "", "sudo exit 3; echo $?", "", result{stdout: "3\n"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := start(t, Host{SudoPassword: test.password})
			if got := runLine(t, dial(t, s), test.line, test.stdin); got != test.want {
				t.Errorf("%q:\n got %+v\nwant %+v", test.line, got, test.want)
			}
		})
	}
	denied := start(t, Host{RefuseSudo: true})
	if r := runLine(t, dial(t, denied), "sudo true", ""); r != (result{stderr: "alice is not in the sudoers file.\n", code: 1}) {
		t.Errorf("%+v", r)
	}
}

func TestTerminal(t *testing.T) {
	t.Parallel()
	s := start(t, Host{Name: "web1", SudoPassword: "pw"})
	tests := []struct {
		name, line, stdin string
		modes             ssh.TerminalModes
		want              string
	}{
		{"newlines", "echo a; stderr b; tty", "", nil, "a\r\nb\r\n/dev/pts/0\r\n"},
		{"raw", "echo a; stderr b", "", ssh.TerminalModes{ssh.OPOST: 0}, "a\nb\n"},
		{"size", "stty size; echo $TERM", "", nil, "24 80\r\nxterm\r\n"},
		{"sudo", "sudo whoami", "pw\n", nil, "[sudo] password for alice: \r\nroot\r\n"},
		{"end of input", "cat", "a\rb\x04c", nil, "a\r\nb"},
		{"shell", "", "echo a\nexit\n", nil, "web1$ a\r\nweb1$ "},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			session := openSession(t, dial(t, s))
			if err := session.RequestPty("xterm", 24, 80, test.modes); err != nil {
				t.Fatal(err)
			}
			var stdout, stderr bytes.Buffer
			session.Stdin, session.Stdout, session.Stderr = strings.NewReader(test.stdin), &stdout, &stderr
			start := session.Shell
			if test.line != "" {
				start = func() error { return session.Start(test.line) }
			}
			if err := start(); err != nil {
				t.Fatal(err)
			}
			if err := session.Wait(); err != nil || stdout.String() != test.want || stderr.Len() > 0 {
				t.Errorf("%q, %q, %v; want %q", stdout.String(), stderr.String(), err, test.want)
			}
		})
	}
}

func TestHandlerSeesSession(t *testing.T) {
	t.Parallel()
	s := start(t, Host{Handler: func(s *Session) Status {
		s.Stdin.Read(make([]byte, 1))
		columns, rows := s.WindowSize()
		fmt.Fprint(s.Stdout, s.Line, s.User, s.Env, s.PTY.Term, s.PTY.Columns, s.PTY.Modes, columns, rows)
		return Status{Code: 7}
	}})
	session := openSession(t, dial(t, s))
	var stdout bytes.Buffer
	session.Stdout = &stdout
	stdin, err := session.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(session.Setenv("A", "b"), session.RequestPty("vt100", 24, 80, ssh.TerminalModes{ssh.ECHO: 0}),
		session.Start("hello"), session.WindowChange(50, 100)); err != nil {
		t.Fatal(err)
	}
	// The reply to a second start shows that the window change has been seen.
	if ok, _ := session.SendRequest("shell", true, nil); ok {
		t.Error("two commands in one session")
	}
	stdin.Write([]byte("x"))
	var exit *ssh.ExitError
	if err := session.Wait(); !errors.As(err, &exit) || exit.ExitStatus() != 7 {
		t.Errorf("wait: %v", err)
	}
	if want := "helloalice[A=b]vt10080 map[53:0] 100 50"; stdout.String() != want {
		t.Errorf("%q, want %q", stdout.String(), want)
	}
	if st := s.Stats(); len(st.Env) != 1 || len(st.Commands) != 1 || st.Started != 1 || st.Sessions != 1 {
		t.Errorf("stats: %+v", st)
	}
}

func TestSubsystem(t *testing.T) {
	t.Parallel()
	s := start(t, Host{Subsystems: map[string]Handler{"hello": func(s *Session) Status {
		io.WriteString(s.Stdout, s.Subsystem)
		return Status{}
	}}})
	session := openSession(t, dial(t, s))
	stdout, err := session.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := session.RequestSubsystem("hello"); err != nil {
		t.Fatal(err)
	}
	said := make([]byte, len("hello"))
	if _, err := io.ReadFull(stdout, said); err != nil || string(said) != "hello" {
		t.Errorf("%q, %v", said, err)
	}
}

func TestKillOtherSession(t *testing.T) {
	t.Parallel()
	s := start(t, Host{})
	client := dial(t, s)
	session := openSession(t, client)
	if err := session.Start("sleep 100"); err != nil {
		t.Fatal(err)
	}
	if r := runLine(t, client, "kill -0 1001 && kill -KILL -1001", ""); r != (result{}) {
		t.Errorf("kill: %+v", r)
	}
	var exit *ssh.ExitError
	if err := session.Wait(); !errors.As(err, &exit) || exit.Signal() != "KILL" {
		t.Errorf("wait: %v", err)
	}
}

func FuzzParseLine(f *testing.F) {
	for _, seed := range []string{"", "a && b", `'x' "y $z" \w`, "a 2>&1 >x <y", "${", "$(", "a\n;#", "1>", "\\"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		parseLine(text)
		// Quoted text expands to itself.
		if strings.ContainsRune(text, 0) {
			return
		}
		quoted := "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
		commands, err := parseLine(quoted)
		if err != nil || len(commands) != 1 || len(commands[0].words) != 1 || (&shell{}).expand(commands[0].words[0]) != text {
			t.Errorf("%q: %+v, %v", quoted, commands, err)
		}
	})
}
