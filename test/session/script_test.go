package session

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"fleetssh"
	"fleetssh/internal/fleettest"
	"fleetssh/internal/simfleet"
	"fleetssh/internal/sshdtest"
)

func TestScriptInterpreter(t *testing.T) {
	t.Parallel()
	long := "#!/" + strings.Repeat("x", 252)
	for _, test := range []struct {
		text string
		want string // joined with "|"
		err  string
	}{
		{"", "/bin/sh", ""},
		{"echo", "/bin/sh", ""},
		{"echo\r\n", "/bin/sh", ""},
		{"# !/bin/bash\n", "/bin/sh", ""},
		{" #!/bin/bash\n", "/bin/sh", ""},
		{"#!/bin/bash", "/bin/bash", ""},
		{"#!/bin/bash\n", "/bin/bash", ""},
		{"#! \t/bin/bash \t\nrest", "/bin/bash", ""},
		{"#!/usr/bin/env python3\n", "/usr/bin/env|python3", ""},
		{"#!/usr/bin/env\t -S  python3 -u  \n", "/usr/bin/env|-S  python3 -u", ""},
		{"#!/bin/sh -e it's $x\n", "/bin/sh|-e it's $x", ""},
		{"#!/opt/\xff/x\n", "/opt/\xff/x", ""},
		{long + "\n", long[2:], ""},
		{long, long[2:], ""},
		{long + "x\n", "", "its #! line is longer than 255 bytes"},
		{"#!/bin/sh\r\n", "", "Windows line ends"},
		{"#!/bin/sh -e\r", "", "Windows line ends"},
		{"#!\n/bin/sh", "", "names no interpreter"},
		{"#! \t ", "", "names no interpreter"},
		{"#!python3\n", "", `"python3", which is not an absolute path`},
		{"#!./x y\n", "", `"./x", which is not an absolute path`},
		{"\x7fELF\x02\x01\x01\x00\x00", "", "a program, not a script"},
		{"MZ\x90\x00\x03", "", "a program, not a script"},
		{"#!/bin/sh\x00\n", "", "a program, not a script"},
		{"#!/bin/sh\n\x00\xff", "/bin/sh", ""},
		{"\xef\xbb\xbf#!/bin/sh\n", "", "byte order mark"},
		{strings.Repeat("\n", 16<<20), "/bin/sh", ""},
		{strings.Repeat("\n", 16<<20+1), "", "it has 16777217 bytes, more than the limit of 16 MiB"},
	} {
		script := &fleetssh.Script{Text: []byte(test.text)}
		words, err := script.Interpreter()
		if test.err != "" {
			if err == nil || !strings.Contains(err.Error(), test.err) {
				t.Errorf("%.40q: %v", test.text, err)
			}
			if _, err := (fleetssh.Command{Script: script}).CommandLine(0); fleettest.AsError[*fleetssh.ConfigError](t, err).Field != "Command.Script.Text" {
				t.Errorf("%.40q: %v", test.text, err)
			}
			continue
		}
		if got := strings.Join(words, "|"); err != nil || got != test.want {
			t.Errorf("%.40q: %q, %v; want %q", test.text, got, err, test.want)
		}
	}
}

// Any script is either refused or names an absolute path, and then has a command line that no
// login shell splits.
func FuzzScript(f *testing.F) {
	f.Add([]byte("#!/usr/bin/env -S python3 -u\nprint()\n"), "an argument")
	f.Add([]byte("#! /bin/sh\r\n"), "\n'!\\")
	f.Add([]byte("\x7fELF\x00"), "\x00")
	f.Fuzz(func(t *testing.T, text []byte, arg string) {
		script := &fleetssh.Script{Text: text, Args: []string{arg}}
		words, err := script.Interpreter()
		line, lineErr := fleetssh.Command{Script: script}.CommandLine(0)
		if strings.Contains(arg, "\x00") {
			fleettest.AsError[*fleetssh.ConfigError](t, lineErr)
			return
		}
		if (err == nil) != (lineErr == nil) {
			t.Fatalf("%v, %v", err, lineErr)
		}
		if err != nil {
			return
		}
		if len(words) > 2 || !strings.HasPrefix(words[0], "/") || strings.ContainsAny(words[0], " \t\n\x00") {
			t.Errorf("interpreter %q", words)
		}
		if !bytes.Contains(text, []byte("#!")) && strings.Join(words, " ") != "/bin/sh" {
			t.Errorf("interpreter %q without a #! line", words)
		}
		if strings.Count(line, "\n") != strings.Count(arg, "\n") || strings.IndexByte(line, 0) >= 0 {
			t.Errorf("the line is %q", line)
		}
	})
}

func TestScriptConfig(t *testing.T) {
	t.Parallel()
	script := &fleetssh.Script{Text: []byte("true")}
	for _, test := range []struct {
		cmd   fleetssh.Command
		field string
	}{
		{fleetssh.Command{Script: script, Line: "true"}, "Command.Line"},
		{fleetssh.Command{Script: script, Shell: "bash -c"}, "Command.Shell"},
		{fleetssh.Command{Script: script, PTY: &fleetssh.PTY{}}, "Command.PTY"},
		{fleetssh.Command{Script: script, LoginShell: true}, "Command.LoginShell"},
		{fleetssh.Command{Script: &fleetssh.Script{Args: []string{"a", "\x00"}}}, "Command.Script.Args"},
		{fleetssh.Command{LoginShell: true, Line: "true"}, "Command.LoginShell"},
		{fleetssh.Command{LoginShell: true, Shell: "sh -c"}, "Command.LoginShell"},
		{fleetssh.Command{LoginShell: true, User: "root"}, "Command.LoginShell"},
		{fleetssh.Command{LoginShell: true, Env: map[string]string{"A": "b"}}, "Command.LoginShell"},
	} {
		_, err := test.cmd.CommandLine(0)
		fleettest.Equal(t, "field", fleettest.AsError[*fleetssh.ConfigError](t, err).Field, test.field)
	}
}

func TestScriptArgs(t *testing.T) {
	t.Parallel()
	cmd := fleetssh.Command{Script: &fleetssh.Script{Args: []string{"%s", "a %(name)s", "100%%", "%q"}}}
	args, err := cmd.ScriptArgs(0)
	fleettest.Equal(t, "error", err, nil)
	fleettest.Equal(t, "untouched", strings.Join(args, "|"), "%s|a %(name)s|100%%|%q")
	cmd.HostArgs = []fleetssh.Args{
		{List: []string{"x", "y z"}, Map: map[string]string{"name": ""}},
		{List: []string{"\n", ""}, Map: map[string]string{"name": "%s"}},
	}
	for i, want := range []string{"x|a |100%|'y z'", "\n|a %s|100%|''"} {
		args, err := cmd.ScriptArgs(i)
		fleettest.Equal(t, "error", err, nil)
		fleettest.Equal(t, "args", strings.Join(args, "|"), want)
	}
	cmd.HostArgs[1].List = []string{"one"}
	_, err = cmd.ScriptArgs(0)
	fleettest.Equal(t, "host", fleettest.AsError[*fleetssh.HostArgumentError](t, err).Index, 1)
	cmd = fleetssh.Command{Script: &fleetssh.Script{}, HostArgs: []fleetssh.Args{{}}}
	args, err = cmd.ScriptArgs(0)
	fleettest.Equal(t, "error", err, nil)
	fleettest.Equal(t, "number of arguments", len(args), 0)
}

// A host that does not read a script, or disconnects in the middle of it, has its own outcome,
// with and without user input after the script.
func TestScriptFaults(t *testing.T) {
	t.Parallel()
	text := bytes.Repeat([]byte("# more than a host takes unread\n"), 300_000)
	for _, test := range []struct {
		fault simfleet.FaultKind
		kind  fleetssh.OutcomeKind
	}{
		{simfleet.NeverReadStdin, fleetssh.TimedOut},
		{simfleet.StallAfterStart, fleetssh.TimedOut},
		{simfleet.CloseWithoutStatus, fleetssh.Lost},
	} {
		for _, input := range []string{"none", "given", "open"} {
			t.Run(string(test.fault)+" "+input, func(t *testing.T) {
				t.Parallel()
				sshdtest.CheckLeaks(t)
				c := fleettest.Faulty(t, test.fault).Dial(t)
				cmd := fleetssh.Command{Script: &fleetssh.Script{Text: text}, Timeout: time.Second, OpenStdin: input == "open"}
				if test.kind == fleetssh.Lost {
					cmd.Timeout = fleettest.Patience // the host ends the command
				}
				if input == "given" {
					cmd.Stdin = strings.NewReader("data")
				}
				out := fleettest.Start(t, c, cmd)
				if input == "open" {
					if _, err := out.Stdin.Write(text); err == nil {
						t.Error("a write to a host that does not read succeeds")
					}
				}
				out.WaitFinished(fleettest.Soon(t))
				fleettest.Equal(t, "outcome", out.Outcome().Kind, test.kind)
				c.Close()
			})
		}
	}
}

// All hosts get the same script, sent before their shared input.
func TestScriptFleet(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	fleet, err := simfleet.StartFleet(50, 0, func(_ int, h *simfleet.Host) {
		h.AuthorizedKeys = []ssh.PublicKey{fleettest.ClientKey().PublicKey()}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer fleet.Close()
	script := &fleetssh.Script{Text: []byte("#!/bin/bash\necho \"<$1>\"\ncat"), Args: []string{"%(n)s"}}
	cmd := fleetssh.Command{Script: script, Stdin: strings.NewReader("data\n")}
	p := &fleetssh.ParallelClient{PoolSize: 10}
	base := fleetssh.HostConfig{User: "alice", Port: fleet.Port(), HostKeys: fleetssh.InsecureIgnoreHostKeys{}, Auth: fleetssh.Auth{Signers: []ssh.Signer{fleettest.ClientKey()}}}
	for i, host := range fleetssh.Hosts(base, fleet.Hosts()...) {
		p.Hosts = append(p.Hosts, host)
		cmd.HostArgs = append(cmd.HostArgs, fleetssh.Args{Map: map[string]string{"n": strconv.Itoa(i)}})
	}
	defer p.Close()
	events, err := p.Stream(fleettest.Soon(t), cmd)
	if err != nil {
		t.Fatal(err)
	}
	lines := make(map[int]string)
	for ev := range events {
		switch ev.Kind {
		case fleetssh.StdoutLine, fleetssh.StderrLine:
			lines[ev.Index] += ev.Text + "|"
		case fleetssh.Finished:
			fleettest.Equal(t, "outcome", ev.Output.Outcome(), fleetssh.Outcome{Kind: fleetssh.Exited})
		}
	}
	for i := range p.Hosts {
		fleettest.Equal(t, "lines", lines[i], fmt.Sprintf("<%d>|data|", i))
	}
}
