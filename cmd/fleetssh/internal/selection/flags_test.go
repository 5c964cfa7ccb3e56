package selection

import (
	"context"
	"path/filepath"
	"testing"

	"fleetssh"
)

// New host keys are asked about only if the user can answer, and has not said what to do with them.
func TestConfirms(t *testing.T) {
	t.Parallel()
	ask := &Env{ConfirmKeys: func([]Host) func(context.Context, fleetssh.NewHostKey) bool { return nil }}
	for _, test := range []struct {
		name  string
		flags Flags
		env   *Env
		want  bool
	}{
		{"a terminal", Flags{canAsk: true}, ask, true},
		{"no terminal", Flags{}, ask, false},
		{"standard input is for the hosts", Flags{canAsk: true, TakesInput: true}, ask, false},
		{"--host-key strict", Flags{canAsk: true, HostKey: "strict"}, ask, false},
		{"--host-key insecure", Flags{canAsk: true, HostKey: "insecure"}, ask, false},
		{"the demo", Flags{canAsk: true}, &Env{ConfirmKeys: ask.ConfirmKeys, Redirect: func(*Host) {}}, false},
	} {
		if got := test.flags.confirms(test.env); got != test.want {
			t.Errorf("%s: %v", test.name, got)
		}
	}
	// A file that does not exist yet is no error if hosts can be added to it.
	f := Flags{KnownHosts: filepath.Join(t.TempDir(), "missing")}
	if _, err := f.policy(true); err != nil {
		t.Error(err)
	}
	if _, err := f.policy(false); err == nil {
		t.Error("a missing file is accepted although nothing can be added to it")
	}
}
