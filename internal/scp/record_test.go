package scp

import (
	"errors"
	"io/fs"
	"strings"
	"testing"
	"time"
)

func TestRecordLines(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name  string
		line  string
		want  Record
		wrong string // part of the error
	}{
		{"file", "C0644 5 name", Record{Name: "name", Mode: 0o644, Size: 5}, ""},
		{"spaces", "C0600 0  a b ", Record{Name: " a b ", Mode: 0o600}, ""},
		{"not UTF-8", "C0600 0 \xff\xfe", Record{Name: "\xff\xfe", Mode: 0o600}, ""},
		{"all bits", "C7777 1 x", Record{Name: "x", Mode: 0o777 | fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky, Size: 1}, ""},
		{"largest", "C0644 9223372036854775807 x", Record{Name: "x", Mode: 0o644, Size: 1<<63 - 1}, ""},
		{"directory", "D1777 0 tmp", Record{Kind: Dir, Name: "tmp", Mode: 0o777 | fs.ModeSticky}, ""},
		{"end", "E", Record{Kind: EndDir}, ""},
		{"encoded newline", `C0644 1 a\^Jb`, Record{Name: `a\^Jb`, Mode: 0o644, Size: 1}, ""},

		{"nothing", "", Record{}, "instead of a record"},
		{"only the kind", "C", Record{}, "incomplete"},
		{"no name", "C0644 5", Record{}, "incomplete"},
		{"end and more", "E0", Record{}, "instead of a record"},
		{"short mode", "C644 5 x", Record{}, "bad mode"},
		{"long mode", "C00644 5 x", Record{}, "bad mode"},
		{"mode not octal", "C0698 5 x", Record{}, "bad mode"},
		{"mode with a sign", "C+644 5 x", Record{}, "bad mode"},
		{"negative size", "C0644 -1 x", Record{}, "bad size"},
		{"size too large", "C0644 9223372036854775808 x", Record{}, "bad size"},
		{"size far too large", "C0644 99999999999999999999999999 x", Record{}, "bad size"},
		{"size in hex", "C0644 0x5 x", Record{}, "bad size"},
		{"no size", "C0644  x", Record{}, "bad size"},
		{"empty name", "C0644 5 ", Record{}, "empty"},
		{"dot", "C0644 5 .", Record{}, "another directory"},
		{"parent", "D0755 0 ..", Record{}, "another directory"},
		{"slash", "C0644 5 a/b", Record{}, "slash"},
		{"out", "C0644 5 ../../evil", Record{}, "slash"},
		{"NUL", "C0644 5 a\x00b", Record{}, "NUL"},
		{"long name", "C0644 5 " + strings.Repeat("x", maxName+1), Record{}, "at most 1024"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var got Record
			err := got.parse([]byte(test.line))
			if test.wrong != "" {
				if !isProtocol(err) || !strings.Contains(err.Error(), test.wrong) || len(err.Error()) > 400 {
					t.Fatalf("error %v, want %q", err, test.wrong)
				}
				return
			}
			if err != nil || got != test.want {
				t.Fatalf("%+v, %v, want %+v", got, err, test.want)
			}
			if again := string(got.appendTo(nil)); again != test.line+"\n" {
				t.Errorf("written as %q", again)
			}
		})
	}
}

func isProtocol(err error) bool {
	var protocol *ProtocolError
	return errors.As(err, &protocol)
}

func TestTimes(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name  string
		write Record
		line  string
	}{
		{"both", Record{ModTime: time.Unix(1795205533, 123456789), AccessTime: time.Unix(7, 0)}, "T1795205533 123456 7 0"},
		{"one", Record{ModTime: time.Unix(5, 0)}, "T5 0 5 0"},
		{"the epoch", Record{ModTime: time.Unix(0, 0)}, "T0 0 0 0"},
		{"before the epoch", Record{ModTime: time.Unix(-5, 7000), AccessTime: time.Unix(1, 0)}, "T0 0 1 0"},
		{"far away", Record{ModTime: time.Unix(1<<50, 0)}, "T253402300799 0 253402300799 0"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			line := string(test.write.appendTimes(nil))
			if line != test.line+"\n" {
				t.Fatalf("%q, want %q", line, test.line)
			}
			var read Record
			if err := read.parseTimes([]byte(test.line)); err != nil {
				t.Fatal(err)
			}
			if again := string(read.appendTimes(nil)); again != line {
				t.Errorf("read and written: %q", again)
			}
		})
	}
	for _, line := range []string{
		"T", "T1 0 1", "T1 0 1 0 0", "T1 0 1 0 ", "T-1 0 1 0", "T1 -1 1 0", "T1 1000000 1 0", "Tx 0 1 0", "T1  0 1 0",
		"T253402300800 0 0 0", "T99999999999999999999 0 0 0", "T1\t0\t1\t0", "T1 0 1 0\x00",
	} {
		var r Record
		if err := r.parseTimes([]byte(line)); !isProtocol(err) {
			t.Errorf("%q: %v", line, err)
		}
	}
}

func TestCommand(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		command  Command
		to, from string
	}{
		{Command{}, "scp -t -- .", "scp -f -- ."},
		{Command{Path: "/etc/motd"}, "scp -t -- /etc/motd", "scp -f -- /etc/motd"},
		{Command{Path: "-rf", Recursive: true, Preserve: true, Directory: true}, "scp -t -r -p -d -- -rf", "scp -f -r -p -d -- -rf"},
		{Command{Path: "it's a $(b)*"}, `scp -t -- 'it'\''s a $(b)*'`, `scp -f -- 'it'\''s a $(b)*'`},
		{Command{Path: "~/x"}, "scp -t -- '~/x'", "scp -f -- '~/x'"},
		{Command{Path: "/var/log/a b*.[0-9]?", Glob: true}, "scp -t -- '/var/log/a b'*.[0-9]?", "scp -f -- '/var/log/a b'*.[0-9]?"},
		{Command{Path: "*;id", Glob: true}, "scp -t -- *';id'", "scp -f -- *';id'"},
	} {
		if to := test.command.To(); to != test.to {
			t.Errorf("%+v: to %s, want %s", test.command, to, test.to)
		}
		if from := test.command.From(); from != test.from {
			t.Errorf("%+v: from %s, want %s", test.command, from, test.from)
		}
	}
}
