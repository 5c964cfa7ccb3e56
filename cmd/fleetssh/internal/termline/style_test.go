package termline

import (
	"io"
	"testing"
)

func TestUsesColors(t *testing.T) {
	t.Parallel()
	type env map[string]string
	for _, test := range []struct {
		terminal bool
		env      env
		want     bool
	}{
		{true, env{"TERM": "xterm"}, true},
		{true, env{"TERM": "xterm", "NO_COLOR": ""}, true},
		{true, env{"TERM": "xterm", "NO_COLOR": "1"}, false},
		{true, env{"TERM": "xterm", "CLICOLOR": "0"}, false},
		{true, env{"TERM": "xterm", "CLICOLOR": "1"}, true},
		{true, env{"TERM": "dumb"}, false},
		{true, env{}, false},
		{false, env{"TERM": "xterm"}, false},
		{false, env{"CLICOLOR_FORCE": "1"}, true},
		{false, env{"CLICOLOR_FORCE": "1", "CLICOLOR": "0"}, true},
		{false, env{"CLICOLOR_FORCE": "0"}, false},
		{true, env{"TERM": "dumb", "CLICOLOR_FORCE": "1"}, true},
		{false, env{"NO_COLOR": "1", "CLICOLOR_FORCE": "1"}, false},
	} {
		if got := usesColors(test.terminal, func(name string) string { return test.env[name] }); got != test.want {
			t.Errorf("terminal %v, %v: colours %v", test.terminal, test.env, got)
		}
	}
}

// Colours show what kind of message it is. A host cannot add any.
func TestStyledMessages(t *testing.T) {
	t.Parallel()
	for message, want := range map[string]string{
		"fleetssh: error: no\x1b[2J":   "\x1b[1;31mfleetssh: error:\x1b[0m no^[[2J\n",
		"fleetssh: warning: careful":   "\x1b[35mfleetssh: warning:\x1b[0m careful\n",
		"    hint: try it":             "    \x1b[36mhint:\x1b[0m try it\n",
		"web1: hint: said by the host": "web1: hint: said by the host\n",
	} {
		var shown writes
		s := New(io.Discard, &shown)
		s.SetColors(ColorsAlways)
		s.Message(message)
		s.Close()
		if got := shown.all(); len(got) != 1 || got[0] != want {
			t.Errorf("%q: %q, want %q", message, got, want)
		}
	}
	var shown writes
	s := New(io.Discard, &shown)
	s.SetColors(ColorsAlways)
	s.Styled(Span{Text: "  "}, Span{Failure, "signal \x1b[0m"}, Span{Text: "\x1b[1m"})
	s.Close()
	if got := shown.all(); len(got) != 1 || got[0] != "  \x1b[31msignal ^[[0m\x1b[0m^[[1m\n" {
		t.Errorf("%q", got)
	}
}
