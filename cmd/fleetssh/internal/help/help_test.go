package help

import (
	"slices"
	"strings"
	"testing"
)

func TestParseHelp(t *testing.T) {
	t.Parallel()
	help := Parse(`Do it. And
more.

  fleetssh do -w web1     once
  fleetssh do

usage: fleetssh do [options]
       fleetssh do less

Which:
  -f, --force               without
                            --dry-run: at once
  -t, --long-and-long DUR how long
      --size N|N%           how much

Codes:
  0    fine
  Otherwise not.

The end.
`)
	want := []part{
		{prose, "", []string{"Do it. And", "more."}},
		{example, "", []string{"fleetssh do -w web1     once", "fleetssh do"}},
		{usage, "", []string{"fleetssh do [options]", "fleetssh do less"}},
		{title, "", []string{"Which"}},
		{row, "-f, --force", []string{"without", "--dry-run: at once"}},
		{row, "-t, --long-and-long DUR", []string{"how long"}},
		{row, "--size N|N%", []string{"how much"}},
		{title, "", []string{"Codes"}},
		{row, "0", []string{"fine"}},
		{prose, "", []string{"Otherwise not."}},
		{prose, "", []string{"The end."}},
	}
	equal := func(a, b part) bool {
		return a.kind == b.kind && a.term == b.term && slices.Equal(a.lines, b.lines)
	}
	if !slices.EqualFunc(help, want, equal) {
		t.Errorf("%+v", help)
	}
	if value, text := help.Option("long-and-long"); help.Summary() != "Do it" || value != "DUR" || text != "how long" {
		t.Errorf("%q, %q, %q", help.Summary(), value, text)
	}
}

func TestTargets(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"web1": "web1", "10.0.0.1": "10.0.0.1", "[web1]:2222": "web1:2222", "[fe80::1]:22": "[fe80::1]:22", "::1": "[::1]",
	} {
		if got := targetOf(name); got != want {
			t.Errorf("targetOf(%q) = %q, want %q", name, got, want)
		}
	}
}

// Shells show one line of text for an option: it ends with the first clause.
func TestShorten(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"how many (3); none":                           "how many (3)",
		"how long (5s; more\nafter a failure)":         "how long (5s; more after a failure)",
		"one that goes\non. And more.":                 "one that goes on",
		"fold: grouped (default)\njson: objects":       "fold: grouped (default)",
		"with -r: " + strings.Repeat("long ", 30):      "with -r: " + strings.Repeat("long ", 30),
		"so many of them: " + strings.Repeat("x ", 80): "so many of them",
		"":    "",
		"all": "all",
	} {
		if got := shorten(strings.Split(text, "\n")); got != want {
			t.Errorf("shorten(%q) = %q, want %q", text, got, want)
		}
	}
}
