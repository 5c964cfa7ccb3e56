package hostset

import (
	"errors"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		expr string
		want string // the names, separated by spaces
	}{
		{"empty", "", ""},
		{"white space only", " \t\n", ""},
		{"one name", "web1", "web1"},
		{"range", "web[8-11]", "web8 web9 web10 web11"},
		{"padded range", "web[08-11]", "web08 web09 web10 web11"},
		{"range leaves its padding", "n[98-101],m[099-101]", "m099 m100 m101 n98 n99 n100 n101"},
		{"padding of the first number", "n[001-2]", "n001 n002"},
		{"padding shorter than the last number", "n[09-100/91]", "n09 n100"},
		{"zero is not padded", "n[0-1]", "n0 n1"},
		{"padded zero", "n[00-01]", "n00 n01"},
		{"numbers and ranges", "web[1,3,5-7]", "web1 web3 web5 web6 web7"},
		{"paddings side by side", "n[1,01,001]", "n1 n01 n001"},
		{"step", "n[0-9/3]", "n0 n3 n6 n9"},
		{"step beyond the end", "n[1-10/20]", "n1"},
		{"padded step", "n[01-05/02]", "n01 n03 n05"},
		{"range of one", "n[5-5]", "n5"},
		{"several ranges", "r[1-2]n[0-3/3]", "r1n0 r1n3 r2n0 r2n3"},
		{"ranges side by side", "n[1-2][1-2]", "n11 n12 n21 n22"},
		{"range before a digit", "n[1-2]5", "n15 n25"},
		{"range within a name", "n[1-2].example.com", "n1.example.com n2.example.com"},
		{"range only", "[1-3]", "1 2 3"},
		{"largest number", "n[999999999999999998-999999999999999999]", "n999999999999999998 n999999999999999999"},
		{"largest step", "n[999999999999999999-999999999999999999/999999999999999999]", "n999999999999999999"},
		{"overlap", "n[1-3,2-4],n1", "n1 n2 n3 n4"},

		{"union", "b,a", "a b"},
		{"difference", "n[1-5]!n[2-3]", "n1 n4 n5"},
		{"intersection", "n[1-5]&n[4-9]", "n4 n5"},
		{"symmetric difference", "n[1-3]^n[3-4]", "n1 n2 n4"},
		{"left to right", "a,b!b,c", "a c"},
		{"no precedence", "a&b,c", "c"},
		{"each operator", "a[1-5]!a[2-3]^a[3,9]&a[1-9]", "a1 a3 a4 a5 a9"},
		{"differences in a row", "n[1-5]!n1!n2!n3", "n4 n5"},
		{"symmetric differences in a row", "a^a^a", "a"},
		{"nothing left", "a!a", ""},
		{"white space separates", "a b\tc\nd", "a b c d"},
		{"white space around operators", " a[1-3] ! a1 , b ", "a2 a3 b"},
		{"commas too many", ",a,,b, ,", "a b"},

		{"user and port", "user@web[1-2]:2222", "user@web1:2222 user@web2:2222"},
		{"at sign within a name", "x@db", "x@db"},
		{"range in the port", "web:[22-23]", "web:22 web:23"},
		{"range as user", "[1-2]@web", "1@web 2@web"},
		{"range as host", "user@[1-2]", "user@1 user@2"},
		{"address", "[::1]", "[::1]"},
		{"address with zone and port", "[fe80::1%eth0]:22", "[fe80::1%eth0]:22"},
		{"address of a user", "user@[2001:db8::1]:2222", "user@[2001:db8::1]:2222"},
		{"address behind the last at sign", "me@corp@[::1]", "me@corp@[::1]"},
		{"address and range", "[1-2]@[::1]:[22-23]", "1@[::1]:22 1@[::1]:23 2@[::1]:22 2@[::1]:23"},
		{"addresses without brackets", "::1 10.0.0.1", "10.0.0.1 ::1"},
		{"letters beyond ASCII", "münchen[1-2]", "münchen1 münchen2"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := mustParse(t, tt.expr)
			if got := strings.Join(s.Names(), " "); got != tt.want {
				t.Errorf("Parse(%q) = %s, want %s", tt.expr, got, tt.want)
			}
		})
	}
}

func TestParseErrors(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		expr   string
		offset int
		reason string
	}{
		{"bracket not closed", "web[1-", 3, `missing "]"`},
		{"address not closed", "a,[::1", 2, `missing "]"`},
		{"bracket not opened", "web1]", 4, `"]" without "["`},
		{"bracket in a bracket", "n[1[2]]", 3, `a range may contain only digits, ",", "-" and "/"`},
		{"letters in a range", "n[a-c]", 2, `a range may contain only digits, ",", "-" and "/"`},
		{"white space in a range", "n[1 2]", 3, `a range may contain only digits, ",", "-" and "/"`},
		{"address in a name", "n[::1]", 2, `a range may contain only digits, ",", "-" and "/"`},
		{"empty range", "n[]", 2, "empty range"},
		{"no number behind a comma", "n[1,]", 4, "missing number"},
		{"no number before a dash", "n[-1]", 2, "missing number"},
		{"no step", "n[1-3/]", 6, "missing number"},
		{"step without range", "n[1/2]", 3, `unexpected "/" in a range`},
		{"two dashes", "n[1-2-3]", 5, `unexpected "-" in a range`},
		{"reversed range", "n[5-3]", 2, `the range "5-3" ends before it starts`},
		{"two widths", "n[1-020]", 2, `the range "1-020" is padded to two widths`},
		{"step of zero", "n[1-3/0]", 6, "the step is 0"},
		{"too many digits", "n[0-1000000000000000000]", 4, "number of more than 18 digits"},

		{"operator first", "!a", 0, `no hosts before "!"`},
		{"operator after a comma", "a, &b", 3, `no hosts before "&"`},
		{"file", "a,^file", 2, `no hosts before "^"; files of hosts ("^FILE") are not supported`},
		{"operator last", "a !", 2, `no hosts after "!"`},
		{"operator before a comma", "a!,b", 2, `no hosts between "!" and ","`},
		{"operator twice", "a& &b", 3, `no hosts between "&" and "&"`},

		{"wildcard", "web*", 3, "wildcards need a list of known hosts"},
		{"question mark", "web?", 3, "wildcards need a list of known hosts"},
		{"all groups", "@*", 1, "wildcards need a list of known hosts"},
		{"wildcard in an address", "[fe80::1%*]", 1, "no wildcards in an address"},
		{"control character", "a\x1b[31m", 1, `unprintable character '\x1b'`},
		{"reversed text", "a\u202eb", 1, `unprintable character '\u202e'`},
		{"not UTF-8", "a\xff", 1, "not UTF-8"},
		{"no address", "[::g]", 1, `not an IPv6 address: "::g"`},
		{"operator in a zone", "[fe80::1%a,b]", 1, `not an IPv6 address: "fe80::1%a,b"`},
		{"text behind an address", "[::1]x", 5, "only a port may follow an address"},
		{"group without a name", "a,@", 2, `no name after "@"`},
		{"no groups", "a @web", 2, "@web: no groups are defined"},

		{"range too large", "n[0-99999999999]", 2, tooManyNames},
		{"ranges too large", "n[1-600000,1-600000]", 11, tooManyNames},
		{"product too large", "a[0-999]b[0-999]b[0-999]", 0, tooManyNames},
		{"union too large", "a[1-600000],b[1-600000]", 0, tooManyNames},
		{"name too long", strings.Repeat("x", 513), 0, tooLongName},
		{"name too long with its range", strings.Repeat("x", 511) + "[9-10]", 0, tooLongName},
		{"too many ranges in a name", strings.Repeat("[1]", 513), 1539, tooLongName},
		{"too much text", strings.Repeat("x", 500) + "[1-200000]", 0, tooMuchText},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s, err := Parse(tt.expr, nil)
			var pe *ParseError
			if !errors.As(err, &pe) {
				t.Fatalf("Parse(%.80q) = %d names, %v, want a *ParseError", tt.expr, s.Len(), err)
			}
			if pe.Expr != tt.expr || pe.Reason != tt.reason || pe.Offset != tt.offset {
				t.Errorf("Parse(%.80q) fails at %d: %s; want %d: %s", tt.expr, pe.Offset, pe.Reason, tt.offset, tt.reason)
			}
		})
	}
}

func TestParseExpressionTooLong(t *testing.T) {
	t.Parallel()
	_, err := Parse(strings.Repeat(",", maxText+1), nil)
	if err == nil || !strings.Contains(err.Error(), "expression of more than 64 MiB") {
		t.Errorf("got %v", err)
	}
}

// Each operator walks the whole set; the sum of this work is limited.
func TestParseTooMuchWork(t *testing.T) {
	t.Parallel()
	_, err := Parse("n[1-300000]"+strings.Repeat("!a,b", 1000), nil)
	if err == nil || !strings.Contains(err.Error(), tooMuchWork) {
		t.Errorf("got %v", err)
	}
}

func TestParseErrorText(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		err  ParseError
		want string
	}{
		{
			"short",
			ParseError{Expr: "web[1-", Offset: 3, Reason: `missing "]"`},
			`host set "web[1-": offset 3: missing "]"`,
		},
		{
			"control characters",
			ParseError{Expr: "a\x1b[2J", Offset: 1, Reason: "bad\x1b[2J\ngroup"},
			`host set "a\x1b[2J": offset 1: bad` + "\ufffd[2J\ufffd" + `group`,
		},
		{
			"long",
			ParseError{Expr: strings.Repeat("x", 500), Offset: 250, Reason: "r"},
			`host set ..."` + strings.Repeat("x", 120) + `"...: offset 250: r`,
		},
		{
			"offset outside",
			ParseError{Expr: "x", Offset: 99, Reason: "r"},
			`host set "x": offset 99: r`,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := tt.err.Error(); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}
