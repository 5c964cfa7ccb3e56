package hostset

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

var errUnknown = errors.New("unknown group")

// groupsOf resolves the names in a map.
func groupsOf(exprs map[string]string) Groups {
	return func(name string) (string, error) {
		expr, ok := exprs[name]
		if !ok {
			return "", errUnknown
		}
		return expr, nil
	}
}

func TestGroups(t *testing.T) {
	t.Parallel()
	groups := groupsOf(map[string]string{
		"web":         "web[1-3]",
		"rack1":       "r1n[1-2]",
		"rack2":       "r2n[1-2]",
		"prod":        "@web,db1!web2",
		"none":        "",
		"last:failed": "web3",
	})
	tests := []struct {
		name string
		expr string
		want string
	}{
		{"one", "@web", "web[1-3]"},
		{"in parentheses", "web2,@prod", "db1,web[1-3]"},
		{"operators", "@web!@prod", "web2"},
		{"ranges in the name", "@rack[1-2]", "r[1-2]n[1-2]"},
		{"empty group", "@none,a", "a"},
		{"colon in the name", "@web!@last:failed", "web[1-2]"},
		{"used twice", "@web ^ @web", ""},
		{"at sign within a name", "x@web", "x@web"},
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

func TestGroupErrors(t *testing.T) {
	t.Parallel()
	exprs := map[string]string{
		"self": "a,@self",
		"a":    "@b",
		"b":    "x,@a",
		"bad":  "x[1-",
		"huge": "n[1-600000]",
	}
	for i := range 40 {
		exprs[fmt.Sprintf("deep%d", i)] = fmt.Sprintf("@deep%d", i+1)
		exprs[fmt.Sprintf("bomb%d", i)] = fmt.Sprintf("@bomb%d,@bomb%d", i+1, i+1)
	}
	exprs["bomb25"] = ""
	tests := []struct {
		name string
		expr string
		want string // in the text
	}{
		{"unknown", "a,@nix", `host set "a,@nix": offset 2: @nix: unknown group`},
		{"error in the group", "@bad", `host set "@bad": offset 0: @bad: host set "x[1-": offset 1: missing "]"`},
		{"part of itself", "@self", "group contains itself: @self, @self"},
		{"part of itself by another", "@b", "group contains itself: @b, @a, @b"},
		{"too deep", "@deep1", "groups more than 32 deep"},
		{"doubling", "@bomb0", tooMuchWork},
		{"two too large", "@huge,m[1-600000]", tooManyNames},
		{"address", "@[::1]", "a range may contain only"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := Parse(tt.expr, groupsOf(exprs))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Parse(%q): %v, want %s", tt.expr, err, tt.want)
			}
		})
	}
}

func TestGroupErrorUnwraps(t *testing.T) {
	t.Parallel()
	_, err := Parse("@a", groupsOf(map[string]string{"a": "@b"}))
	if !errors.Is(err, errUnknown) {
		t.Errorf("%v does not wrap the error of the group", err)
	}
}
