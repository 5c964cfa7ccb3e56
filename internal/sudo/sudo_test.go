package sudo

import (
	"slices"
	"strings"
	"testing"
)

var tokens = &Tokens{Prompt: "[sudo-X]", Started: "[started-Y]"}

func TestFilter(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, stream, shown string
		events              []Event
	}{
		{"no sudo at all", "hello\n", "hello\n", nil},
		{"password", "[sudo-X][started-Y]out", "out", []Event{Asked, Started}},
		{"no password", "[started-Y]out", "out", []Event{Started}},
		{"lecture first", "Be careful.\n[sudo-X][started-Y]", "Be careful.\n", []Event{Asked, Started}},
		{"wrong", "[sudo-X]Sorry, try again.\n[sudo-X]sudo: no\n", "Sorry, try again.\nsudo: no\n", []Event{Asked, AskedAgain}},
		{"terminal", "[sudo-X]\r\n[started-Y]out\r\n", "out\r\n", []Event{Asked, Started}},
		{"terminal, wrong", "[sudo-X]\r\nSorry\r\n[sudo-X]\r\n", "Sorry\r\n", []Event{Asked, AskedAgain}},
		{"token in the output of the command", "[started-Y]a[sudo-X]b", "a[sudo-X]b", []Event{Started}},
		{"beginning of a token at the end", "done [sud", "done [sud", nil},
		{"beginning of another token", "[s[su[sudo-X]x", "[s[sux", []Event{Asked}},
		{"a carriage return at the end", "[sudo-X]\r", "\r", []Event{Asked}},
	} {
		t.Run(test.name, func(t *testing.T) {
			for size := 1; size <= len(test.stream); size++ {
				shown, events := filter(test.stream, size)
				if shown != test.shown || !slices.Equal(events, test.events) {
					t.Errorf("%d bytes at a time: shows %q, %v, want %q, %v", size, shown, events, test.shown, test.events)
				}
			}
		})
	}
}

// filter passes a stream through a Filter, so many bytes at a time.
func filter(stream string, size int) (string, []Event) {
	f := NewFilter(tokens)
	var shown strings.Builder
	var events []Event
	for len(stream) > 0 {
		n := min(size, len(stream))
		show, found := f.Write([]byte(stream[:n]))
		shown.Write(show)
		events = append(events, found...)
		stream = stream[n:]
	}
	shown.Write(f.Close())
	return shown.String(), events
}

// FuzzFilter checks that it makes no difference how a stream is cut.
func FuzzFilter(f *testing.F) {
	f.Add("a[sudo-X]b\r\n[started-Y]c[sudo-X]", 3)
	f.Add("[sudo-X]\r\r\n[sudo-X]\r\n\r\n", 1)
	f.Fuzz(func(t *testing.T, stream string, size int) {
		if size < 1 {
			return
		}
		whole, events := filter(stream, max(len(stream), 1))
		cut, cutEvents := filter(stream, size)
		if whole != cut || !slices.Equal(events, cutEvents) {
			t.Errorf("%q: whole %q %v, cut %q %v", stream, whole, events, cut, cutEvents)
		}
		if !strings.Contains(stream, tokens.Prompt) && !strings.Contains(stream, tokens.Started) && whole != stream {
			t.Errorf("%q came out as %q", stream, whole)
		}
	})
}

func TestTokens(t *testing.T) {
	t.Parallel()
	a, b := NewTokens(true), NewTokens(true)
	if a.Prompt == b.Prompt || a.Started == b.Started || a.Started == "" {
		t.Errorf("tokens repeat: %v, %v", a, b)
	}
	if NewTokens(false).Started != "" {
		t.Error("a token for the start although nobody answers")
	}
}
