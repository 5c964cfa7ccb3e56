package cmdline

import (
	"os/exec"
	"strings"
	"testing"

	"fleetssh/internal/sentinel"
)

// Any login shell can read our own command lines, and sh the programs in them.
func TestPrograms(t *testing.T) {
	t.Parallel()
	script, err := Build(Spec{Script: &Script{Text: []byte("#!/usr/bin/env node\n")}})
	if err != nil {
		t.Fatal(err)
	}
	for name, line := range map[string]string{
		"script": script, "server": ServerName(), "console": ConsoleShell("exec "),
		"signals": Signals{Names: "TERM KILL", Patience: 20}.Line(&Sudo{}), "shell and below": Signals{Names: "INT", Top: 17}.Line(nil),
		"group": KillGroup("exec ", "INT", 17), "input": KeepInput("", 5, sentinel.New()),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if strings.Contains(line, "\n") {
				t.Errorf("more than one line: %s", line)
			}
			if strings.Contains(line, "@size@") || strings.Contains(line, "@server@") || strings.Contains(line, "@kill@") || strings.Contains(line, "@sentinel@") || strings.Contains(line, "@before@") || strings.Contains(line, "@interpreter@") {
				t.Errorf("a name is not replaced: %s", line)
			}
			for _, shell := range []string{"sh", "bash", "zsh", "tcsh", "fish"} {
				if _, err := exec.LookPath(shell); err != nil {
					continue
				}
				if out, err := exec.Command(shell, "-n", "-c", line).CombinedOutput(); err != nil {
					t.Errorf("%s cannot read it: %v\n%s", shell, err, out)
				}
			}
		})
	}
	for name, program := range map[string]string{"script": scriptProgram, "find": findProgram, "kill": killProgram} {
		if strings.ContainsAny(program, `'!\`) {
			t.Errorf("%s contains a character that makes quoting hard to read", name)
		}
		if out, err := exec.Command("sh", "-n", "-c", program).CombinedOutput(); err != nil {
			t.Errorf("sh cannot read %s: %v\n%s", name, err, out)
		}
	}
}
