package hostset

import (
	"slices"
	"strings"
	"testing"
)

func TestString(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		names string
		want  string
	}{
		{"no numbers", "db web", "db,web"},
		{"one name", "web1", "web1"},
		{"one padded name", "web007", "web007"},
		{"range", "web1 web2 web3", "web[1-3]"},
		{"gap", "web1 web3", "web[1,3]"},
		{"growing width", "web9 web10 web11", "web[9-11]"},
		{"padded", "web08 web09 web10", "web[08-10]"},
		{"padded to two widths", "n09 n010", "n[09,010]"},
		{"padded range ends at its width", "n98 n099 n99 n100 n0100", "n[98-99,099-100,0100]"},
		{"two digits and then three", "n09 n10 n99 n100", "n[09-10,99-100]"},
		{"same values", "n1 n01 n001 n2 n02", "n[1-2,01-02,001]"},
		{"zero", "n0 n00 n1", "n[0-1,00]"},
		{"digits within", "n1x n2x", "n[1-2]x"},
		{"only digits", "1 2 3", "[1-3]"},
		{"longest number", "n999999999999999998 n999999999999999999", "n[999999999999999998-999999999999999999]"},
		{"number too long", "n1000000000000000000 n1000000000000000001", "n1000000000000000000,n1000000000000000001"},
		{"product", "r1n1 r1n2 r2n1 r2n2", "r[1-2]n[1-2]"},
		{"no product", "r1n1 r2n2", "r1n1,r2n2"},
		{"incomplete product", "r1n1 r1n2 r2n1", "r1n[1-2],r2n1"},
		{"first axis first", "r1n1 r2n1 r3n1 r1n2 r2n2 r3n2 r2n3", "r[1-3]n[1-2],r2n3"},
		{"three axes", "a1b1c1 a1b1c2 a1b2c1 a1b2c2 a2b1c1 a2b1c2 a2b2c1 a2b2c2", "a[1-2]b[1-2]c[1-2]"},
		{"IPv4", "10.0.0.1 10.0.0.2 10.0.1.1 10.0.1.2", "10.0.[0-1].[1-2]"},
		{"users and ports", "u@web1:22 u@web2:22", "u@web[1-2]:22"},
		{"IPv6 in brackets", "[::1] [::2]", "[::1],[::2]"},
		{"ports of an address", "[::1]:22 [::1]:23", "[::1]:[22-23]"},
		{"IPv6", "fe80::1 fe80::2", "fe80::[1-2]"},
		{"more numbers than axes", "1.1.1.1.1.1.1.1.1 1.1.1.1.1.1.1.1.2", "1.1.1.1.1.1.1.1.1,1.1.1.1.1.1.1.1.2"},
		{"shapes in order", "b1 a2 b2 a1", "a[1-2],b[1-2]"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := Of(strings.Fields(tt.names)...)
			got := s.String()
			if got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
			if again := mustParse(t, got); !slices.Equal(again.Names(), s.Names()) {
				t.Errorf("%s is read as %q", got, again.Names())
			}
		})
	}
}

func TestStringQuotesNothing(t *testing.T) {
	t.Parallel()
	if got, want := Of("a[1", "a[2", "b,1", "b,2").String(), "a[1,a[2,b,[1-2]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestStringOfManyShapes(t *testing.T) {
	t.Parallel()
	s := mustParse(t, "rack[01-40]n[1-99/2,4],db[001-120]!db[007,050-060]&rack[02-39]n[1-50],web[9-11]")
	want := "rack[02-39]n[1,3-5,7,9,11,13,15,17,19,21,23,25,27,29,31,33,35,37,39,41,43,45,47,49],web[9-11]"
	if got := s.String(); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
