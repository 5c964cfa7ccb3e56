package dshbak

import "testing"

func TestCutLabel(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"web1: text": "web1|text", "web1:text": "web1|text", "web1:  text": "web1| text", "  web1 : text": "web1|text", "web1:": "web1|",
		"web1:22: text": "web1:22|text", "[::1]:22: x": "[::1]:22|x", "::1: x": "::1|x", "web1:a:b": "web1|a:b", "web1: a: b": "web1|a: b",
		"pdsh@me: web1: x": "pdsh@me|web1: x", "web1#2: x": "web1#2|x",
	} {
		host, text, ok := cutLabel([]byte(line))
		if got := host + "|" + string(text); !ok || got != want {
			t.Errorf("cutLabel(%q) = %q, %v, want %q", line, got, ok, want)
		}
	}
	for _, line := range []string{"", ":", " : x", ":x", "no label here", "no label: here"} {
		if host, text, ok := cutLabel([]byte(line)); ok {
			t.Errorf("cutLabel(%q) = %q, %q", line, host, text)
		}
	}
}
