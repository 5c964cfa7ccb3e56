package console

import (
	"bytes"
	"strings"
	"testing"
)

// feedMarks returns the text and the marks in pieces of a stream.
func feedMarks(m *marks, pieces ...string) (text string, found []said) {
	var b bytes.Buffer
	take := func(data []byte) { b.Write(data) }
	for _, piece := range pieces {
		m.feed([]byte(piece), take, func(m said) { found = append(found, m) })
	}
	m.flush(take)
	return b.String(), found
}

func TestMarks(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, in, text string
		found          []said
	}{
		{"none", "abc\n", "abc\n", nil},
		{"begin", "aTOKEN(5>b", "ab", []said{{kind: beginMark, line: 5, status: 5}}},
		{"end", "no newlineTOKEN=5:3>", "no newline", []said{{kind: endMark, line: 5, ended: 3, status: 3}}},
		{"prompt", "TOKEN<5:4:130>", "", []said{{kind: promptMark, line: 5, ended: 4, status: 130}}},
		{"two", "aTOKEN=1:0>bTOKEN<1:1:0>c", "abc", []said{{kind: endMark, line: 1}, {kind: promptMark, line: 1, ended: 1}}},
		{"cut off", "aTOKEN=1:", "aTOKEN=1:", nil},
		{"part of the token", "aTOKE", "aTOKE", nil},
		{"lookalike", "TOKEN=1:x>TOKEN?TOKEN=:1>TOKEN=1:1:1>", "TOKEN=1:x>TOKEN?TOKEN=:1>TOKEN=1:1:1>", nil},
		{"token in token", "TOKTOKEN=1:2>EN", "TOKEN", []said{{kind: endMark, line: 1, ended: 2, status: 2}}},
		{"too large", "TOKEN=1:99999999999999999999999>", "TOKEN=1:99999999999999999999999>", nil},
		{"too long", "TOKEN=" + strings.Repeat("1", 100), "TOKEN=" + strings.Repeat("1", 100), nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			for _, pieces := range [][]string{{test.in}, strings.Split(test.in, "")} {
				text, found := feedMarks(&marks{token: []byte("TOKEN")}, pieces...)
				if text != test.text || len(found) != len(test.found) {
					t.Fatalf("%q, %+v", text, found)
				}
				for i := range found {
					if found[i] != test.found[i] {
						t.Errorf("%+v, want %+v", found[i], test.found[i])
					}
				}
			}
		})
	}
	// The newline that an interrupted shell writes for the eye is its own.
	text, _ := feedMarks(&marks{token: []byte("TOKEN"), hold: true}, "a\n", "\n", "TOK", "EN<1:0:130>", "b\n")
	if text != "a\nb\n" {
		t.Errorf("%q", text)
	}
}

// However a stream is cut, the same text and marks come out, nothing else is lost, and
// little is held.
func FuzzMarks(f *testing.F) {
	f.Add("aTOKEN=1:2>bTOKEN<1:2:3>TOKEN(9>TOKTOKEN=", 3, false)
	f.Add("\n\nTOKEN<1:0:130>\n", 1, true)
	f.Fuzz(func(t *testing.T, in string, size int, hold bool) {
		size = max(1, min(size, len(in)+1))
		whole, found := feedMarks(&marks{token: []byte("TOKEN"), hold: hold}, in)
		m := &marks{token: []byte("TOKEN"), hold: hold}
		var text bytes.Buffer
		n := 0
		for rest := in; rest != ""; {
			piece := rest[:min(size, len(rest))]
			rest = rest[len(piece):]
			m.feed([]byte(piece), func(data []byte) { text.Write(data) }, func(said) { n++ })
			if len(m.held) > len("\nTOKEN")+longestMark+1 {
				t.Fatalf("%d bytes are held", len(m.held))
			}
		}
		m.flush(func(data []byte) { text.Write(data) })
		if text.String() != whole || n != len(found) {
			t.Errorf("%q and %q, %d and %d marks", text.String(), whole, n, len(found))
		}
		if len(found) == 0 && whole != in {
			t.Errorf("%q became %q", in, whole)
		}
	})
}
