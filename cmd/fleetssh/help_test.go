package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"fleetssh/cmd/fleetssh/internal/exit"
	"fleetssh/cmd/fleetssh/internal/help"
	"fleetssh/cmd/fleetssh/internal/topic"
)

// Completion and the manual take the text of each flag from the help of the verb.
func TestHelpTextOfEachFlag(t *testing.T) {
	t.Parallel()
	for _, verb := range help.Verbs(newRoot(new(app), verbs...)) {
		help := help.Parse(help.Text(verb))
		if help.Summary() == "" {
			t.Errorf("%s: the help has no summary", verb.CommandPath())
		}
		verb.Flags().VisitAll(func(flag *pflag.Flag) {
			if flag.Name == "help" {
				return // it is in the last line of the brief help
			}
			value, text := help.Option(flag.Name)
			if text == "" || (value != "") != (flag.NoOptDefVal == "") {
				t.Errorf("%s --%s: value %q, text %q", verb.CommandPath(), flag.Name, value, text)
			}
			if strings.Count(text, "(") != strings.Count(text, ")") || strings.HasSuffix(text, ",") {
				t.Errorf("%s --%s: %q is cut off", verb.CommandPath(), flag.Name, text)
			}
		})
	}
}

// Every exit code is in the help of every verb, and so is every flag.
func TestHelpIsComplete(t *testing.T) {
	t.Parallel()
	root := newRoot(new(app), verbs...)
	for _, verb := range root.Commands() {
		code, help, stderr := runProgram(t, verb.Name(), "--help")
		if code != exit.OK || stderr != "" {
			t.Errorf("%s --help: exit code %d, stderr %q", verb.Name(), code, stderr)
		}
		for _, c := range exit.Codes {
			if strings.HasSuffix(help, exit.LocalHelp()) {
				break
			}
			if !strings.Contains(help, fmt.Sprintf("  %-4d %s\n", c.Code, c.Text)) {
				t.Errorf("%s --help does not list exit code %d", verb.Name(), c.Code)
			}
		}
		for flag := range flagNames(verb.Flags().FlagUsages()) {
			if !strings.Contains(help, flag) {
				t.Errorf("%s --help does not list %s", verb.Name(), flag)
			}
		}
		for _, line := range strings.Split(help, "\n") {
			if len(line) > 82 {
				t.Errorf("%s --help has a line of %d characters: %s", verb.Name(), len(line), line)
			}
		}
	}
}

// The brief help of every verb fits a screen of 24 lines and 80 columns, and no text in it is cut off.
func TestBriefHelp(t *testing.T) {
	t.Parallel()
	root := newRoot(new(app), verbs...)
	pages := map[string]string{"fleetssh": topic.Brief()}
	for _, verb := range help.Verbs(root) {
		if !verb.Hidden {
			pages[verb.CommandPath()] = help.Brief(verb)
		}
	}
	for name, page := range pages {
		lines := strings.Split(strings.TrimSuffix(page, "\n"), "\n")
		if len(lines) > 24 || len(lines) < 4 {
			t.Errorf("%s -h: %d lines", name, len(lines))
		}
		for _, line := range lines {
			if len(line) > 85 || len(line) > 80 && strings.HasPrefix(line, "  -") || strings.Count(line, "(") != strings.Count(line, ")") {
				t.Errorf("%s -h: %q", name, line)
			}
		}
	}
	for _, verb := range root.Commands() {
		if !verb.Hidden && !strings.Contains(pages["fleetssh"], verb.Name()) {
			t.Errorf("fleetssh -h does not name %s", verb.Name())
		}
		if !verb.Hidden && !strings.Contains(root.Long, "\n  "+verb.Name()+" ") {
			t.Errorf("fleetssh --help does not list %s", verb.Name())
		}
	}
	for verb, missing := range help.UnknownBriefFlags(root) {
		t.Errorf("%s -h: no option %s", verb, missing)
	}
	if code, out, _ := runProgram(t, "run", "-h"); code != exit.OK || out != pages["fleetssh run"] {
		t.Errorf("run -h: exit code %d\n%s", code, out)
	}
	if code, out, _ := runProgram(t, "-h"); code != exit.OK || out != pages["fleetssh"] {
		t.Errorf("-h: exit code %d\n%s", code, out)
	}
}

// flagNames yields the flags of a generated usage text.
func flagNames(usages string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for _, word := range strings.Fields(usages) {
			name, ok := strings.CutPrefix(word, "--")
			if ok && name != "help" && !yield("--"+name) {
				return
			}
		}
	}
}
