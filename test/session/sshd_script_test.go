package session

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"fleetssh"
	"fleetssh/internal/fleettest"
	"fleetssh/internal/sshdtest"
)

// scriptServer starts a server on which only the test creates temporary files, and returns their
// directory.
func scriptServer(t testing.TB, account string) (s *sshdtest.Server, host fleetssh.HostConfig, dir string) {
	t.Helper()
	dir = sshdtest.SharedDir(t)
	if err := os.Chmod(dir, 0o1777); err != nil {
		t.Fatal(err)
	}
	opt := sshdtest.Options{Config: []string{"SetEnv TMPDIR=" + dir}}
	s, host, password := fleettest.AccountSSHD(t, account, opt)
	host.Auth.Password = password
	return s, host, dir
}

// empty expects a directory to become empty.
func empty(t testing.TB, dir string) {
	t.Helper()
	sshdtest.Eventually(t, fleettest.Patience, "nothing left in "+dir, func() bool {
		left, err := os.ReadDir(dir)
		return err == nil && len(left) == 0
	})
}

// scripts print their arguments in angle brackets, then their input, and exit with 7.
var scripts = []struct{ name, text string }{
	{"sh", "#!/bin/sh\nprintf '<%s>' \"$@\"\ncat\nexit 7\n"},
	{"bash with a flag", "#! /bin/bash \t -e \nshopt -q login_shell && exit 1\n[[ $- == *e* ]]\nprintf '<%s>' \"$@\"\ncat\nexit 7\n"},
	{"no #! line", "printf '<%s>' \"$@\"\ncat\nexit 7\n"},
	{"no final newline", "#!/bin/sh\nprintf '<%s>' \"$@\"; cat; exit 7"},
	{"python", "#!/usr/bin/env python3\nimport os, sys, shutil\nos.write(1, b''.join(b'<' + os.fsencode(a) + b'>' for a in sys.argv[1:]))\nshutil.copyfileobj(sys.stdin.buffer, sys.stdout.buffer)\nsys.exit(7)\n"},
	{"env -S", "#!/usr/bin/env -S python3 -u -I\nimport os, sys, shutil\nos.write(1, b''.join(b'<' + os.fsencode(a) + b'>' for a in sys.argv[1:]))\nshutil.copyfileobj(sys.stdin.buffer, sys.stdout.buffer)\nsys.exit(7)\n"},
	{"perl", "#!/usr/bin/perl\nprint \"<$_>\" for @ARGV; $/ = undef; print <STDIN>; exit 7;\n"},
	{"awk", "#!/usr/bin/awk -f\nBEGIN { for (i = 1; i < ARGC; i++) printf \"<%s>\", ARGV[i]; fflush(); system(\"cat\"); exit 7 }\n"},
	{"payload", "#!/bin/sh\nprintf '<%s>' \"$@\"\ncat\n[ \"$(tail -n 1 \"$0\")\" = payload ] || exit 8\nexit 7\n\x00\xff\npayload\n"},
	{"long", "#!/bin/sh\n" + strings.Repeat("# a comment that makes it long\n", 20000) + "printf '<%s>' \"$@\"\ncat\nexit 7\n"},
}

// oddArguments break without correct quoting.
var oddArguments = append(slices.Clone(nasty), "\xff\xfe", "-x", "--help", "é\xe9")

func TestSSHDScript(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	data := string(fleettest.Noise(1<<20 + 3))
	_, host, dir := scriptServer(t, sshdtest.Bob)
	c := fleettest.Dial(t, host)
	for _, script := range scripts {
		t.Run(script.name, func(t *testing.T) {
			args := oddArguments
			if script.name == "awk" {
				args = slices.DeleteFunc(slices.Clone(args), func(a string) bool { return strings.HasPrefix(a, "-") || a == "" })
			}
			cmd := fleetssh.Command{Script: &fleetssh.Script{Text: []byte(script.text), Args: args}, Stdin: strings.NewReader(data)}
			_, stdout, stderr, err := fleettest.RunCommand(t, c, cmd)
			fleettest.Equal(t, "exit code", fleettest.AsError[*fleetssh.ExitError](t, err).Code, 7)
			fleettest.Equal(t, "stderr", stderr, "")
			want := "<" + strings.Join(args, "><") + ">" + data
			if stdout != want {
				t.Errorf("got %d bytes, want %d\ngot  %.900q\nwant %.900q", len(stdout), len(want), stdout, want)
			}
			empty(t, dir)
		})
	}
}

// Scripts work with every login shell, except that a csh cannot pass newlines.
func TestSSHDScriptShells(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	for _, account := range sshdtest.ShellAccounts(t) {
		t.Run(account, func(t *testing.T) {
			t.Parallel()
			_, host, dir := scriptServer(t, account)
			args := oddArguments
			if strings.HasSuffix(account, "csh") {
				args = slices.DeleteFunc(slices.Clone(args), func(w string) bool { return strings.Contains(w, "\n") })
			}
			for _, cmd := range []fleetssh.Command{
				{Script: &fleetssh.Script{Text: []byte(scripts[0].text), Args: args}},
				{Script: &fleetssh.Script{Text: []byte("printf '<%s>' \"$@\" \"$A\"; cat; exit 7"), Args: args[:len(args)-1]}, Env: map[string]string{"A": args[len(args)-1]}},
				{Script: &fleetssh.Script{Text: []byte(scripts[0].text), Args: []string{"%(a)s%%", "%s"}}, HostArgs: []fleetssh.Args{{List: []string{"l!'\\st"}, Map: map[string]string{"a": "x y"}}}},
			} {
				cmd.Stdin = strings.NewReader("input")
				want := "<" + strings.Join(args, "><") + ">input"
				if cmd.HostArgs != nil {
					want = "<x y%><l!'\\st>input"
				}
				out, stdout, stderr, err := fleettest.RunCommand(t, fleettest.Dial(t, host), cmd)
				fleettest.Equal(t, "exit code", fleettest.AsError[*fleetssh.ExitError](t, err).Code, 7)
				if stdout != want || stderr != "" {
					t.Errorf("%.2000s\ngot  %q\nwant %q\n%q", out.CommandLine, stdout, want, stderr)
				}
				empty(t, dir)
			}
		})
	}
}

// Every sh, with its tools, reads exactly the script and no byte of the input after it.
func TestSSHDScriptTools(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	data := string(fleettest.Noise(1 << 20))
	_, host, dir := scriptServer(t, sshdtest.Bob)
	c := fleettest.Dial(t, host)
	for _, tools := range [][]string{
		{"busybox", "sh", "mktemp", "rm", "dd", "wc", "env", "cat", "readlink"},
		{"bash", "sh"}, {"dash", "sh"}, {"zsh", "sh"},
	} {
		bin := sshdtest.SharedDir(t)
		program, err := exec.LookPath(tools[0])
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range tools[1:] {
			if err := os.Symlink(program, filepath.Join(bin, name)); err != nil {
				t.Fatal(err)
			}
		}
		cmd := fleetssh.Command{
			Script: &fleetssh.Script{Text: []byte("#!/usr/bin/env sh\nreadlink /proc/$$/fd/3\necho $#\ncat\n" + strings.Repeat("# longer\n", 10_000)), Args: oddArguments},
			Stdin:  strings.NewReader(data), Env: map[string]string{"PATH": bin + ":/usr/bin:/bin"},
		}
		_, stdout, stderr, err := fleettest.RunCommand(t, c, cmd)
		fleettest.Equal(t, "error with "+tools[0], err, nil)
		fleettest.Equal(t, "stderr with "+tools[0], stderr, "")
		file, rest, _ := strings.Cut(stdout, "\n")
		if !strings.HasPrefix(file, dir+"/fleetssh.") || !strings.HasSuffix(file, " (deleted)") {
			t.Errorf("%s: the script is in %s", tools[0], file)
		}
		if rest != fmt.Sprintf("%d\n%s", len(oddArguments), data) {
			t.Errorf("%s: %.300q", tools[0], rest)
		}
		empty(t, dir)
	}
}

// Scripts run without input, with an input that stays open, and when empty.
func TestSSHDScriptInput(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	_, host, dir := scriptServer(t, sshdtest.Bob)
	c := fleettest.Dial(t, host)
	_, stdout, stderr, err := fleettest.RunCommand(t, c, fleetssh.Command{Script: &fleetssh.Script{Text: []byte("cat; echo end")}})
	fleettest.Equal(t, "output", stdout+stderr, "end\n")
	fleettest.Equal(t, "error", err, nil)
	_, stdout, stderr, err = fleettest.RunCommand(t, c, fleetssh.Command{Script: &fleetssh.Script{}, Stdin: strings.NewReader("unread")})
	fleettest.Equal(t, "output of the empty one", stdout+stderr, "")
	fleettest.Equal(t, "error of the empty one", err, nil)
	out := fleettest.Start(t, c, fleetssh.Command{Script: &fleetssh.Script{Text: []byte("echo ready; while read l; do echo \"<$l>\"; done")}, OpenStdin: true})
	next := lineReader(t, out.Stdout)
	fleettest.Equal(t, "first line", next(), "ready") // before there is any input
	if _, err := out.Stdin.Write([]byte("one\n")); err != nil {
		t.Fatal(err)
	}
	fleettest.Equal(t, "line", next(), "<one>")
	fleettest.Equal(t, "error", out.WaitFinished(fleettest.Soon(t)), nil)
	empty(t, dir)
}

func TestSSHDScriptSudo(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	data := string(fleettest.Noise(1 << 20))
	text := []byte("#!/bin/bash\nid -un\nprintf '<%s>' \"$@\"\ncat\n")
	for _, account := range []string{sshdtest.Alice, sshdtest.Carol} {
		_, host, dir := scriptServer(t, account)
		c := fleettest.Dial(t, host)
		for _, user := range []string{"", sshdtest.Bob} {
			cmd := fleetssh.Command{
				Script: &fleetssh.Script{Text: text, Args: oddArguments}, Stdin: strings.NewReader(data),
				Sudo: true, User: user, SudoPassword: accountPassword, Env: map[string]string{"TMPDIR": dir},
			}
			if account == sshdtest.Carol {
				cmd.SudoPassword = nil // sudo does not ask
			}
			_, stdout, stderr, err := fleettest.RunCommand(t, c, cmd)
			fleettest.Equal(t, "error", err, nil)
			who := "root"
			if user != "" {
				who = user
			}
			if want := who + "\n<" + strings.Join(oddArguments, "><") + ">" + data; stdout != want || stderr != "" {
				t.Errorf("%s as %s: %.300q, %.300q", account, who, stdout, stderr)
			}
			clean(t, host.Auth.Password, stdout, stderr)
			empty(t, dir)
		}
	}
	// Without a password, sudo must not read the script as the answer.
	_, host, _ := scriptServer(t, sshdtest.Alice)
	out, stdout, stderr, err := fleettest.RunCommand(t, fleettest.Dial(t, host), fleetssh.Command{Script: &fleetssh.Script{Text: text}, Sudo: true})
	fleettest.Contains(t, fleettest.AsError[*fleetssh.SessionError](t, err).Error(), "it asks for a password, and there is none")
	fleettest.Equal(t, "outcome", out.Outcome(), fleetssh.Outcome{Kind: fleetssh.NotStarted, Phase: "sudo"})
	clean(t, host.Auth.Password, stdout, stderr)
}

func TestSSHDScriptStopped(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	all := fleettest.Together{T: t}
	defer all.Wait()
	for _, account := range []string{sshdtest.Bob, sshdtest.Alice, "root"} {
		for _, trap := range []string{"", "trap '' TERM; "} {
			all.Run(account+" "+trap, func(t *testing.T) {
				sshdtest.CheckLeaks(t)
				_, host, dir := scriptServer(t, account)
				marker := sshdtest.Marker()
				cmd := fleetssh.Command{Timeout: fleettest.Lapse, Env: map[string]string{"TMPDIR": dir}}
				cmd.Script = &fleetssh.Script{Text: []byte("#!/bin/bash\n" + trap + "sleep $1 & sleep $1; sleep $1"), Args: []string{marker}}
				if account == sshdtest.Alice {
					cmd.Sudo, cmd.SudoPassword = true, accountPassword
				}
				out := fleettest.Start(t, fleettest.Dial(t, host), cmd)
				fleettest.Running(t, marker, true)
				fleettest.AsError[*fleetssh.TimeoutError](t, out.WaitFinished(fleettest.Soon(t)))
				fleettest.Equal(t, "outcome", out.Outcome(), fleetssh.Outcome{Kind: fleetssh.TimedOut, Stopped: true})
				fleettest.Running(t, marker, false)
				empty(t, dir)
			})
		}
	}
}

// An incomplete script does not run, and leaves no file.
func TestSSHDScriptCut(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	trace := filepath.Join(sshdtest.SharedDir(t), "trace")
	text := []byte("#!/bin/sh\ntouch " + trace + "\n" + strings.Repeat("# much more of it\n", 200_000) + "touch " + trace + "\n")
	for _, end := range []string{"cut", "closed", "killed"} {
		t.Run(end, func(t *testing.T) {
			s, host, dir := scriptServer(t, sshdtest.Bob)
			c := fleettest.Dial(t, host)
			// The reader of the script hangs after its first part.
			stuck := &fleetssh.Script{Text: text}
			out := fleettest.Start(t, c, fleetssh.Command{Script: stuck, OpenStdin: true, Env: map[string]string{"TMPDIR": dir, "PATH": slowDD(t) + ":/usr/bin:/bin"}})
			fleettest.Running(t, "slow-dd-"+filepath.Base(dir), true)
			switch end {
			case "cut":
				s.KillConnections()
			case "closed":
				c.Close()
			case "killed":
				out.Stop(fleettest.Soon(t))
			}
			out.WaitFinished(fleettest.Soon(t))
			fleettest.Running(t, "slow-dd-"+filepath.Base(dir), false)
			empty(t, dir)
			if _, err := os.Stat(trace); err == nil {
				t.Error("the script has run")
			}
		})
	}
}

// slowDD returns a directory with a dd that reads a little and then waits for the end of the input.
func slowDD(t testing.TB) string {
	t.Helper()
	dir := sshdtest.SharedDir(t)
	text := "#!/bin/sh\nexec /bin/bash -c 'head -c 1000; exec -a slow-dd-'${TMPDIR##*/}' cat >/dev/null'\n"
	sshdtest.WriteProgram(t, filepath.Join(dir, "dd"), text)
	return dir
}

// A missing program on the host is reported.
func TestSSHDScriptImpossible(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	_, host, dir := scriptServer(t, sshdtest.Bob)
	c := fleettest.Dial(t, host)
	bare := sshdtest.SharedDir(t) // a PATH with few programs
	for _, name := range []string{"sh", "rm", "dd", "wc", "env"} {
		if err := os.Symlink("/usr/bin/"+name, filepath.Join(bare, name)); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		name, text, path, want string
		code                   int
	}{
		{"no mktemp", "", bare, "fleetssh: the script cannot be run here: there is no mktemp\n", 126},
		{"no interpreter", "#!/usr/bin/no-such-thing", "/usr/bin:/bin", "/usr/bin/no-such-thing", 127},
	} {
		cmd := fleetssh.Command{Script: &fleetssh.Script{Text: []byte(test.text)}, Env: map[string]string{"PATH": test.path}}
		_, stdout, stderr, err := fleettest.RunCommand(t, c, cmd)
		fleettest.Equal(t, test.name+": exit code", fleettest.AsError[*fleetssh.ExitError](t, err).Code, test.code)
		fleettest.Equal(t, "stdout", stdout, "")
		fleettest.Contains(t, stderr, test.want)
		empty(t, dir)
	}
}

// Every host gets the whole script, which is read once locally.
func TestSSHDScriptFleet(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	_, host, dir := scriptServer(t, sshdtest.Bob)
	p := &fleetssh.ParallelClient{PoolSize: 5}
	cmd := fleetssh.Command{Script: &fleetssh.Script{Text: []byte(scripts[0].text), Args: []string{"%s"}}, Stdin: bytes.NewReader(fleettest.Noise(300_000))}
	for i := range 12 {
		p.Hosts = append(p.Hosts, host)
		cmd.HostArgs = append(cmd.HostArgs, fleetssh.Args{List: []string{fmt.Sprint("host ", i)}})
	}
	defer p.Close()
	outs, err := p.RunCommand(fleettest.Soon(t), cmd)
	fleettest.Equal(t, "error", err, nil)
	p.Join(fleettest.Soon(t), outs)
	for i, out := range outs {
		if want := fmt.Sprintf("<host %d>%s", i, fleettest.Noise(300_000)); fleettest.Text(t, out.Stdout) != want {
			t.Errorf("host %d has different output", i)
		}
	}
	empty(t, dir)
}
