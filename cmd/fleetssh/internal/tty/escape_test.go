package tty

import (
	"strings"
	"testing"
)

func TestEscapes(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		keys, send  string
		help, leave bool
	}{
		{"", "", false, false},
		{"ls\r", "ls\r", false, false},
		{"~.", "", false, true},
		{"x~.", "x~.", false, false},
		{"x\r~.y", "x\r", false, true},
		{"x\n~.", "x\n", false, true},
		{"\r\r~.", "\r\r", false, true},
		{"~?", "", true, false},
		{"~?~.", "", true, true},
		{"~~.", "~.", false, false},
		{"~~~.", "~~.", false, false},
		{"~x~.", "~x~.", false, false},
		{"~\r~.", "~\r", false, true},
		{"~", "", false, false},
		{"\xff~.\x00", "\xff~.\x00", false, false},
	} {
		var e escapes
		got := e.parse([]byte(test.keys))
		if string(got.send) != test.send || got.help != test.help || got.disconnect != test.leave {
			t.Errorf("%q: %q, %v, %v", test.keys, got.send, got.help, got.disconnect)
		}
	}
}

// Keys have the same effect at once and one at a time, and keys without "~" are sent unchanged.
func FuzzEscapes(f *testing.F) {
	f.Add("ls\r~?~~x\r~.more")
	f.Fuzz(func(t *testing.T, keys string) {
		var whole, single escapes
		want := whole.parse([]byte(keys))
		var got typed
		for i := 0; i < len(keys) && !got.disconnect; i++ {
			one := single.parse([]byte{keys[i]})
			got.send = append(got.send, one.send...)
			got.help, got.disconnect = got.help || one.help, one.disconnect
		}
		if string(got.send) != string(want.send) || got.help != want.help || got.disconnect != want.disconnect {
			t.Errorf("%q: %+v at once, %+v one by one", keys, want, got)
		}
		if !strings.Contains(keys, "~") && string(want.send) != keys {
			t.Errorf("%q became %q", keys, want.send)
		}
	})
}
