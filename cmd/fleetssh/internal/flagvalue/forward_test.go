package flagvalue

import (
	"strings"
	"testing"
)

func TestParseForward(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ text, listen, target string }{
		{"5432:localhost:5433", "5432", "localhost:5433"},
		{"127.0.0.2:5432:db:5433", "127.0.0.2:5432", "db:5433"},
		{":5432:db:5433", "*:5432", "db:5433"},
		{"*:5432:db:5433", "*:5432", "db:5433"},
		{"[::1]:80:[2001:db8::1]:81", "[::1]:80", "[2001:db8::1]:81"},
		{"80:[::1]:81", "80", "[::1]:81"},
		{"80:/run/x.sock", "80", "/run/x.sock"},
		{"host:80:/run/x.sock", "host:80", "/run/x.sock"},
		{"/run/y:/run/x", "/run/y", "/run/x"},
		{"/run/y:web1:80", "/run/y", "web1:80"},
	} {
		listen, target, err := ParseForward(test.text)
		if listen != test.listen || target != test.target || err != nil {
			t.Errorf("%s: %q, %q, %v", test.text, listen, target, err)
		}
	}
	for _, bad := range []string{"", "80", ":", "80:web1", "a:b:c:d:e", "[::1:80:x:1", "[::1]x:80:x:1", "80::81", ":/x", "/a:/b:80", "/a:80:/b:1"} {
		if listen, target, err := ParseForward(bad); err == nil {
			t.Errorf("%q: %q, %q", bad, listen, target)
		}
	}
}

func TestParseBind(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{"1080": "1080", ":1080": "*:1080", "*:1080": "*:1080", "[::1]:1080": "[::1]:1080", "/run/x": "/run/x"} {
		if got, err := ParseBind(text); got != want || err != nil {
			t.Errorf("%s: %q, %v", text, got, err)
		}
	}
	for _, bad := range []string{"", "a:b:c", "/x:80"} {
		if got, err := ParseBind(bad); err == nil {
			t.Errorf("%q: %q", bad, got)
		}
	}
}

// The two addresses together contain every character of the text, except brackets, colons and "*".
func FuzzParseForward(f *testing.F) {
	f.Add("[::1]:80:[2001:db8::1]:81")
	f.Add("/run/y:/run/x")
	f.Fuzz(func(t *testing.T, text string) {
		listen, target, err := ParseForward(text)
		if err != nil {
			return
		}
		bare := strings.NewReplacer(":", "", "[", "", "]", "", "*", "")
		if got, want := bare.Replace(listen+target), bare.Replace(text); got != want || listen == "" || target == "" {
			t.Errorf("%q: %q, %q", text, listen, target)
		}
	})
}
