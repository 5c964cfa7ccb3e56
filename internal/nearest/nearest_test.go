package nearest

import (
	"strings"
	"testing"
)

func TestNames(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, known, want string }{
		{"wbe1", "web1 web2 database", "web1"},
		{"web3", "web1 web2 database", "web1 web2"},
		{"databse", "web1 database", "database"},
		{"db1", "db01 web1", "db01"},
		{"gatewya", "gateway", "gateway"},
		{"webb", "web webs", "web webs"},
		{"wev", "web webs", "web"},
		{"Web", "web", "web"},
		{"JSON", "stream json fold", "json"},
		{"comp", "run completion", "completion"},
		{"a1", "a2 a3 a4 a5", "a2 a3 a4"},
		{"web", "web", ""},
		{"x", "y z", ""},
		{"xyz", "web db", ""},
		{"", "a", ""},
		{strings.Repeat("a", 101), strings.Repeat("a", 100), ""},
	} {
		if got := strings.Join(Names(test.name, strings.Fields(test.known)), " "); got != test.want {
			t.Errorf("Names(%q, %q) = %q, want %q", test.name, test.known, got, test.want)
		}
	}
}

func TestHint(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		names []string
		want  string
	}{{nil, ""}, {[]string{"a"}, "did you mean a?"}, {[]string{"a", "b"}, "did you mean a or b?"}} {
		if got := Hint(test.names); got != test.want {
			t.Errorf("Hint(%q) = %q", test.names, got)
		}
	}
}
