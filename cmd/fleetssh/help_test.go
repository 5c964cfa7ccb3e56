package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"fleetssh/cmd/fleetssh/internal/exit"
	"fleetssh/cmd/fleetssh/internal/help"
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
