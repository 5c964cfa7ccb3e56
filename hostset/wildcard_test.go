package hostset

import (
	"path"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestWildcards(t *testing.T) {
	t.Parallel()
	groups := groupsOf(map[string]string{
		"*":     "web[1-12],db[01-03],r[1-2]n[1-2],münchen,u@web1:22,[::1]",
		"a:*":   "a[1-2]",
		"front": "web[1-3],db*",
	})
	tests := []struct {
		name string
		expr string
		want string
	}{
		{"any text", "web*", "web[1-12]"},
		{"one character", "web?", "web[1-9]"},
		{"one letter of two bytes", "m?nchen", "münchen"},
		{"in the middle", "r*n1", "r[1-2]n1"},
		{"several", "*0*", "db[01-03],web10"},
		{"no match", "x*", ""},
		{"only a star", "*&db*", "db[01-03]"},
		{"with a range", "web[10-12]*,r[1-2]n?", "r[1-2]n[1-2],web[10-12]"},
		{"with a range twice", "[1-2]*,web1[0-1]*", "web[10-11]"},
		{"users and ports are text", "u@web*,web*:22", "u@web1:22"},
		{"addresses", "*:*&[::1]", "[::1]"},
		{"all hosts", "@*!web*!r*!münchen!u@*!?::*", "db[01-03]"},
		{"all hosts of a source", "@a:*", "a[1-2]"},
		{"in a group", "@front", "db[01-03],web[1-3]"},
		{"chosen by difference", "@front!*1", "db[02-03],web[2-3]"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s, err := Parse(tt.expr, groups)
			if err != nil {
				t.Fatal(err)
			}
			if got := s.String(); got != tt.want {
				t.Errorf("Parse(%q) = %s, want %s", tt.expr, got, tt.want)
			}
		})
	}
}

func TestWildcardErrors(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		expr  string
		known string // the group "*"
		want  string
	}{
		{"in the name of a group", "@w*", "a", `wildcards match hosts, not groups; "@*" means all hosts`},
		{"in the name of a source", "@w*:*", "a", `wildcards match hosts, not groups`},
		{"question mark for a group", "@?", "a", `wildcards match hosts, not groups`},
		{"nothing known", "a*", "", "@*: unknown group"},
		{"all hosts by a wildcard", "a*", "b*", "group contains itself: @*, @*"},
		{"all hosts by themselves", "@*", "a,@*", "group contains itself: @*, @*"},
		{"address", "[::1%*]", "a", "no wildcards in an address"},
		{"too much work", "a[1-1000]*", "n[1-100000]", tooMuchWork},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			groups := map[string]string{"*": tt.known}
			if tt.known == "" {
				groups = nil
			}
			_, err := Parse(tt.expr, groupsOf(groups))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Parse(%q): %v, want %s", tt.expr, err, tt.want)
			}
		})
	}
}

// Groups is called once for all wildcards of an expression.
func TestKnownHostsAreAskedForOnce(t *testing.T) {
	t.Parallel()
	asked := 0
	s, err := Parse("a*,@b,c?", func(name string) (string, error) {
		if name == "b" {
			return "b*", nil
		}
		asked++
		return "a1,b1,c1,d1", nil
	})
	if err != nil || s.String() != "a1,b1,c1" || asked != 1 {
		t.Errorf("%s, %v, asked %d times", s, err, asked)
	}
}

func TestMatchTakesNoExponentialTime(t *testing.T) {
	t.Parallel()
	if match(strings.Repeat("*a", 200)+"b", strings.Repeat("a", maxName)) {
		t.Error("it matches")
	}
}

// FuzzMatch compares with path.Match, which does the same for globs without brackets and slashes.
func TestMatchProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		glob := rapid.StringMatching(`[ab*?é]{0,10}`).Draw(t, "glob")
		name := rapid.StringMatching(`[abé]{0,12}`).Draw(t, "name")
		want, err := path.Match(glob, name)
		if err != nil {
			t.Fatal(err)
		}
		if got := match(glob, name); got != want {
			t.Fatalf("match(%q, %q) = %v", glob, name, got)
		}
	})
}
