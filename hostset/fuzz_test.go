package hostset

import (
	"errors"
	"slices"
	"testing"
	"unicode"
	"unicode/utf8"
)

func FuzzParse(f *testing.F) {
	for _, expr := range []string{
		"", "web[01-20],db1", "rack[1-3]n[0-9/3]", "a!b&c^d e", "@g,@h[1-2]!x", "user@web[1-3]:2222",
		"user@[2001:db8::1]:2222", "[fe80::1%eth0]:[22-23]", "n[1,01,001,9-11,099-101]", "[1-3]",
		"n[0-99999999999]", "a[0-999]b[0-999]b[0-999]", "web[1-", "^f", "a*", "1.2.3.4.5.6.7.8.[8-10]",
		"n000000000000000000000000001", "\x1b[31m", "é[1-2]",
	} {
		f.Add(expr, "m[1-4]!m2,@h1")
	}
	f.Fuzz(func(t *testing.T, expr, group string) {
		s, err := Parse(expr, func(string) (string, error) { return group, nil })
		if err != nil {
			checkError(t, expr, err)
			return
		}
		if s.Len() > maxNames {
			t.Fatalf("%d names", s.Len())
		}
		// The largest sets would only slow down the fuzzer.
		if s.Len() > 20_000 {
			return
		}
		text := s.String()
		again, err := Parse(text, nil)
		if err != nil {
			t.Fatalf("%q folds to %q: %v", expr, text, err)
		}
		if !slices.Equal(s.Names(), again.Names()) {
			t.Fatalf("%q folds to %q, which is %q", s.Names(), text, again.Names())
		}
		for name := range s.All() {
			if !s.Contains(name) || len(name) > maxName {
				t.Fatalf("%q is not a name of %q", name, text)
			}
			if one, err := Parse(name, nil); err != nil || one.Len() != 1 || !one.Contains(name) {
				t.Fatalf("the name %q is read as %q, %v", name, one.Names(), err)
			}
		}
	})
}

func checkError(t *testing.T, expr string, err error) {
	t.Helper()
	var pe *ParseError
	if !errors.As(err, &pe) {
		t.Fatalf("%v is not a *ParseError", err)
	}
	if pe.Expr != expr || pe.Offset < 0 || pe.Offset > len(expr) {
		t.Fatalf("%v: offset %d in %q", err, pe.Offset, expr)
	}
	for _, r := range err.Error() {
		if !unicode.IsPrint(r) || !utf8.ValidString(err.Error()) {
			t.Fatalf("%q cannot be printed", err.Error())
		}
	}
}
