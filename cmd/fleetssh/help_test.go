package main

import (
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"fleetssh/cmd/fleetssh/internal/help"
)

// What completion and the manual say of a flag is found in the help of its verb.
func TestHelpIsTakenApart(t *testing.T) {
	t.Parallel()
	for _, verb := range help.Verbs(newRoot(new(call), verbs...)) {
		help := help.Parse(help.Text(verb))
		if help.Summary() == "" {
			t.Errorf("%s: no first sentence", verb.CommandPath())
		}
		verb.Flags().VisitAll(func(flag *pflag.Flag) {
			value, text := help.Option(flag.Name)
			if text == "" || (value != "") != (flag.NoOptDefVal == "") {
				t.Errorf("%s --%s: value %q, text %q", verb.CommandPath(), flag.Name, value, text)
			}
			if strings.Count(text, "(") != strings.Count(text, ")") || strings.HasSuffix(text, ",") {
				t.Errorf("%s --%s: %q breaks off", verb.CommandPath(), flag.Name, text)
			}
		})
	}
}
