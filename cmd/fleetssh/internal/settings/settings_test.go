package settings

import (
	"strings"
	"testing"
)

func TestSettingsPath(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ from, xdg, home, want string }{
		{"", "/x", "/h", "/x/fleetssh/config.toml"},
		{"", "", "/h", "/h/.config/fleetssh/config.toml"},
		{"", "relative", "/h", "/h/.config/fleetssh/config.toml"},
		{"", "", "", ""},
		{"mine.toml", "/x", "/h", "mine.toml"},
		{"none", "/x", "/h", ""},
	} {
		s := New(func(name string) string { return map[string]string{"XDG_CONFIG_HOME": tt.xdg, "HOME": tt.home}[name] })
		s.File = tt.from
		if got, _ := s.Path(); got != tt.want {
			t.Errorf("%+v: %q", tt, got)
		}
	}
}

func FuzzSettings(f *testing.F) {
	f.Add("fanout = 3\n[run]\nenv = ['a', \"b\"]\nsudo = true")
	f.Add("run = { a = 1, b.c = 2 }\n[[x]]\ny = 1.5")
	f.Fuzz(func(t *testing.T, text string) {
		all, err := parse("config.toml", []byte(text))
		for _, e := range all {
			if err != nil || e.line < 1 || e.line > strings.Count(text, "\n")+1 {
				t.Errorf("%+v of %q, error %v", e, text, err)
			}
		}
	})
}
