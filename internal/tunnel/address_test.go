package tunnel

import (
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		text, listen, target string // what String returns; empty: an error
	}{
		{"9100", "127.0.0.1:9100", "localhost:9100"},
		{":9100", "127.0.0.1:9100", "localhost:9100"},
		{"*:9100", ":9100", ""},
		{"127.0.0.1:0", "127.0.0.1:0", ""},
		{"[::1]:8080", "[::1]:8080", "[::1]:8080"},
		{"/run/x.sock", "/run/x.sock", "/run/x.sock"},
		{"unix:x.sock", "x.sock", "x.sock"},
		{"unix:", "", ""},
		{"unix:@x", "", ""},
		{"::1:8080", "", ""},
		{"65536", "", ""},
		{"http", "", ""},
		{"", "", ""},
	} {
		listen, err := ParseListen(test.text)
		if got := listen.String(); (err == nil) != (test.listen != "") || err == nil && got != test.listen {
			t.Errorf("listen on %q: %q, %v", test.text, got, err)
		}
		target, err := ParseTarget(test.text)
		if got := target.String(); (err == nil) != (test.target != "") || err == nil && got != test.target {
			t.Errorf("lead to %q: %q, %v", test.text, got, err)
		}
	}
}

func TestNext(t *testing.T) {
	t.Parallel()
	if a, err := (Address{Host: "::1", Port: 65534}).Next(1); err != nil || a.String() != "[::1]:65535" {
		t.Errorf("%v, %v", a, err)
	}
	if a, err := (Address{Host: "::1"}).Next(70000); err != nil || a.Port != 0 {
		t.Errorf("%v, %v", a, err)
	}
	if _, err := (Address{Host: "::1", Port: 65534}).Next(2); err == nil {
		t.Error("a port above 65535")
	}
	if _, err := (Address{Path: "/x"}).Next(1); err == nil {
		t.Error("one socket for two hosts")
	}
}

// What has been read is read again from how it is written.
func FuzzParse(f *testing.F) {
	for _, text := range []string{"9100", "*:1", "[::1]:8080", "web1:80", "unix:/x", "/x:1", "unix:unix:x", "[fe80::1%eth0]:1"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		a, err := ParseTarget(text)
		if err != nil {
			return
		}
		if (a.Network() == "unix") != (a.Path != "") || a.Addr().Network() != a.Network() {
			t.Errorf("%+v has the networks %s and %s", a, a.Network(), a.Addr().Network())
		}
		written := a.String()
		if a.Path != "" && !strings.HasPrefix(written, "/") {
			written = "unix:" + written
		}
		if again, err := ParseTarget(written); err != nil || again != a {
			t.Errorf("%q is %+v, and %q is %+v (%v)", text, a, written, again, err)
		}
	})
}
