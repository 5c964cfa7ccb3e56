package console

import (
	"bytes"
	"strings"
	"testing"
)

// scan returns the output and the reports in a stream that comes in pieces.
func scan(s *scanner, pieces ...string) (text string, found []report) {
	var b bytes.Buffer
	take := func(data []byte) { b.Write(data) }
	for _, piece := range pieces {
		s.feed([]byte(piece), take, func(r report) { found = append(found, r) })
	}
	s.flush(take)
	return b.String(), found
}

func TestScanner(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, in, text string
		found          []report
	}{
		{"none", "abc\n", "abc\n", nil},
		{"begin", "aTOKEN(5>b", "ab", []report{{kind: lineBegins, line: 5, status: 5}}},
		{"end", "no newlineTOKEN=5:3>", "no newline", []report{{kind: lineEnded, line: 5, ended: 3, status: 3}}},
		{"prompt", "TOKEN<5:4:130>", "", []report{{kind: prompt, line: 5, ended: 4, status: 130}}},
		{"two", "aTOKEN=1:0>bTOKEN<1:1:0>c", "abc", []report{{kind: lineEnded, line: 1}, {kind: prompt, line: 1, ended: 1}}},
		{"cut off", "aTOKEN=1:", "aTOKEN=1:", nil},
		{"part of the sentinel", "aTOKE", "aTOKE", nil},
		{"lookalike", "TOKEN=1:x>TOKEN?TOKEN=:1>TOKEN=1:1:1>", "TOKEN=1:x>TOKEN?TOKEN=:1>TOKEN=1:1:1>", nil},
		{"sentinel in sentinel", "TOKTOKEN=1:2>EN", "TOKEN", []report{{kind: lineEnded, line: 1, ended: 2, status: 2}}},
		{"too large", "TOKEN=1:99999999999999999999999>", "TOKEN=1:99999999999999999999999>", nil},
		{"too long", "TOKEN=" + strings.Repeat("1", 100), "TOKEN=" + strings.Repeat("1", 100), nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			for _, pieces := range [][]string{{test.in}, strings.Split(test.in, "")} {
				text, found := scan(&scanner{sentinel: []byte("TOKEN")}, pieces...)
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
	// The newline that an interrupted shell writes before its prompt is not output of the line.
	text, _ := scan(&scanner{sentinel: []byte("TOKEN"), holdNewline: true}, "a\n", "\n", "TOK", "EN<1:0:130>", "b\n")
	if text != "a\nb\n" {
		t.Errorf("%q", text)
	}
}

// FuzzScanner checks that the output and the reports do not depend on how a stream is cut, that
// nothing else is lost, and that little is held.
func FuzzScanner(f *testing.F) {
	f.Add("aTOKEN=1:2>bTOKEN<1:2:3>TOKEN(9>TOKTOKEN=", 3, false)
	f.Add("\n\nTOKEN<1:0:130>\n", 1, true)
	f.Fuzz(func(t *testing.T, in string, size int, hold bool) {
		size = max(1, min(size, len(in)+1))
		whole, found := scan(&scanner{sentinel: []byte("TOKEN"), holdNewline: hold}, in)
		s := &scanner{sentinel: []byte("TOKEN"), holdNewline: hold}
		var text bytes.Buffer
		n := 0
		for rest := in; rest != ""; {
			piece := rest[:min(size, len(rest))]
			rest = rest[len(piece):]
			s.feed([]byte(piece), func(data []byte) { text.Write(data) }, func(report) { n++ })
			if len(s.held) > len("\nTOKEN")+longestReport+1 {
				t.Fatalf("%d bytes are held", len(s.held))
			}
		}
		s.flush(func(data []byte) { text.Write(data) })
		if text.String() != whole || n != len(found) {
			t.Errorf("%q and %q, %d and %d reports", text.String(), whole, n, len(found))
		}
		if len(found) == 0 && whole != in {
			t.Errorf("%q became %q", in, whole)
		}
	})
}
