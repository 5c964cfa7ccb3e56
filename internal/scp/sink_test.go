package scp

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"
)

// getting returns a sink whose remote side sends said, and what the sink answers.
func getting(said string) (*Sink, *bytes.Buffer) {
	var out bytes.Buffer
	return NewSink(&out, strings.NewReader(said)), &out
}

// story reads everything and describes it. It refuses names that begin with "no", reads one byte of
// those that begin with "half", and does not read those that begin with "skip".
func story(s *Sink) string {
	var b strings.Builder
	for {
		r, err := s.Next()
		var warning *Warning
		switch {
		case err == io.EOF:
			return b.String() + "end"
		case errors.As(err, &warning):
			fmt.Fprintf(&b, "warning %q, ", warning.Text)
			continue
		case err != nil:
			return b.String() + err.Error()
		}
		switch r.Kind {
		case Dir:
			fmt.Fprintf(&b, "dir %s %v, ", r.Name, r.Mode)
		case EndDir:
			b.WriteString("up, ")
		case File:
			fmt.Fprintf(&b, "file %s %v", r.Name, r.Mode)
		}
		if !r.ModTime.IsZero() {
			fmt.Fprintf(&b, "at %d, ", r.ModTime.Unix())
		}
		var content []byte
		switch {
		case strings.HasPrefix(r.Name, "no"):
			err = s.Refuse("no")
		case r.Kind != File || strings.HasPrefix(r.Name, "skip"):
		case strings.HasPrefix(r.Name, "half"):
			content = make([]byte, 1)
			_, err = s.Read(content)
		default:
			content, err = io.ReadAll(s)
		}
		if r.Kind == File {
			fmt.Fprintf(&b, " %q, ", content)
		}
		if err != nil {
			fmt.Fprintf(&b, "(%v), ", err)
		}
	}
}

func TestSink(t *testing.T) {
	t.Parallel()
	const notWanted, half = "\x01scp: not wanted\n", "\x01scp: not wanted as a whole\n"
	for _, test := range []struct{ name, said, want, answers string }{
		{"nothing", "", "end", "\x00"},
		{"file", "C0644 5 a b\nhello\x00", `file a b -rw-r--r-- "hello", end`, "\x00\x00\x00"},
		{"empty file", "C0644 0 f\n\x00", `file f -rw-r--r-- "", end`, "\x00\x00\x00"},
		{"times", "T5 0 6 0\nC0644 1 f\nx\x00", `file f -rw-r--r--at 5,  "x", end`, "\x00\x00\x00\x00"},
		{"tree", "D0755 0 d\nD0700 0 e\nE\nC0600 1 f\nx\x00E\n", `dir d -rwxr-xr-x, dir e -rwx------, up, file f -rw------- "x", up, end`, "\x00\x00\x00\x00\x00\x00\x00"},
		{"refused file", "C0644 5 no\nC0644 1 f\nx\x00", `file no -rw-r--r-- "", file f -rw-r--r-- "x", end`, "\x00\x01scp: no\n\x00\x00"},
		{"refused directory", "D0755 0 no\nC0644 1 f\nx\x00", `dir no -rwxr-xr-x, file f -rw-r--r-- "x", end`, "\x00\x01scp: no\n\x00\x00"},
		{"skipped file", "C0644 5 skip\nC0644 1 f\nx\x00", `file skip -rw-r--r-- "", file f -rw-r--r-- "x", end`, "\x00" + notWanted + "\x00\x00"},
		{"half a file", "C0644 5 half\nhello\x00C0644 1 f\nx\x00", `file half -rw-r--r-- "h", file f -rw-r--r-- "x", end`, "\x00\x00" + half + "\x00\x00"},
		{"warning", "\x01scp: a: Permission denied\nC0644 1 f\nx\x00", `warning "scp: a: Permission denied", file f -rw-r--r-- "x", end`, "\x00\x00\x00"},
		{"bad content", "C0644 2 f\n\x00\x00\x01scp: f: I/O error\nC0644 1 g\nx\x00", `file f -rw-r--r-- "\x00\x00", (scp: f: I/O error), file g -rw-r--r-- "x", end`, "\x00\x00\x00\x00\x00"},
		{"fatal", "\x02enough\n", "enough", "\x00"},
		{"fatal behind the content", "C0644 1 f\nx\x02enough\n", `file f -rw-r--r-- "x", (enough), enough`, "\x00\x00"},

		{"a shell", "bash: scp: command not found\n", `the remote scp broke the protocol: "bash: scp: command not found\n" instead of a record`, "\x00"},
		{"empty line", "\n", "the remote scp broke the protocol: an empty line instead of a record", "\x00"},
		{"end without begin", "E\n", "the remote scp broke the protocol: the end of a directory that did not begin", "\x00"},
		{"one end too many", "D0755 0 d\nE\nE\n", "dir d -rwxr-xr-x, up, the remote scp broke the protocol: the end of a directory that did not begin", "\x00\x00\x00"},
		{"end of a refused directory", "D0755 0 no\nE\n", "dir no -rwxr-xr-x, the remote scp broke the protocol: the end of a directory that did not begin", "\x00\x01scp: no\n"},
		{"out of the directory", "D0755 0 ..\n", `the remote scp broke the protocol: bad file: name "..": leads to another directory`, "\x00"},
		{"evil", "C0644 1 ../../evil\n", `the remote scp broke the protocol: bad file: name "../../evil": a slash in it`, "\x00"},
		{"times twice", "T1 0 1 0\nT1 0 1 0\n", "the remote scp broke the protocol: times twice", "\x00\x00"},
		{"times of nothing", "T1 0 1 0\n", "read a record of the remote scp: unexpected EOF", "\x00\x00"},
		{"times of an end", "D0755 0 d\nT1 0 1 0\nE\n", "dir d -rwxr-xr-x, the remote scp broke the protocol: times for the end of a directory", "\x00\x00\x00"},
		{"bad times", "T1 0 1 x\n", `the remote scp broke the protocol: bad times in "T1 0 1 x"`, "\x00"},
		{"more content than said", "C0644 1 f\nxyz\n", `file f -rw-r--r-- "x", (the remote scp broke the protocol: "yz" instead of an answer), the remote scp broke the protocol: "yz" instead of an answer`, "\x00\x00"},
		{"less content than said", "C0644 100 f\nxy\x00", `file f -rw-r--r-- "xy\x00", (read content from the remote scp: unexpected EOF), read content from the remote scp: unexpected EOF`, "\x00\x00"},
		{"no end of the directory", "D0755 0 d\n", "dir d -rwxr-xr-x, read a record of the remote scp: unexpected EOF", "\x00\x00"},
		{"half a record", "C0644 1", "read a line of the remote scp: unexpected EOF", "\x00"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s, out := getting(test.said)
			if got := story(s); got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
			if out.String() != test.answers {
				t.Errorf("answered %q, want %q", out, test.answers)
			}
			if _, err := s.Next(); err == nil || err != s.Broken() {
				t.Errorf("after the end: %v, %v", err, s.Broken())
			}
		})
	}
}

// TestSinkClaims: what a hostile source claims is bounded.
func TestSinkClaims(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, begin, forever, want string
	}{
		{"name", "C0644 1 ", "x", "more than 5120 bytes"},
		{"mode", "C", "7", "more than 5120 bytes"},
		{"warning", "\x01", "x", "more than 5120 bytes"},
		{"directories", "", "D0755 0 d\n", "more than 256 deep"},
		{"content", "C0644 9223372036854775807 f\n", "x", "only so much"},
		{"half a file", "C0644 9223372036854775807 half\n", "x", "only so much"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			said := io.MultiReader(strings.NewReader(test.begin), io.LimitReader(&forever{text: test.forever}, 4<<20), failing{errors.New("only so much")})
			s := NewSink(io.Discard, said)
			var err error
			for err == nil {
				var r Record
				if r, err = s.Next(); err == nil && r.Name == "f" {
					_, err = io.Copy(io.Discard, s)
				} else if err == nil && r.Name == "half" {
					s.Read(make([]byte, 1))
				}
			}
			if !strings.Contains(err.Error(), test.want) || len(err.Error()) > 500 {
				t.Errorf("error %.500v, want %q", err, test.want)
			}
		})
	}
}

// forever repeats a text.
type forever struct {
	text string
	at   int
}

func (f *forever) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = f.text[f.at]
		f.at = (f.at + 1) % len(f.text)
	}
	return len(p), nil
}

func TestSinkMisuse(t *testing.T) {
	t.Parallel()
	s, _ := getting("D0755 0 d\nE\n")
	if err := s.Refuse("x"); err == nil {
		t.Error("nothing was refused")
	}
	if _, err := s.Read(make([]byte, 1)); err == nil || err == io.EOF {
		t.Errorf("read without a file: %v", err)
	}
	if r, err := s.Next(); err != nil || r.Kind != Dir {
		t.Fatalf("%+v, %v", r, err)
	}
	if _, err := s.Read(make([]byte, 1)); err == nil || err == io.EOF {
		t.Errorf("read a directory: %v", err)
	}
	s.Next()
	if _, err := s.Next(); err != io.EOF {
		t.Error(err)
	}
	if _, err := io.Copy(io.Discard, s); err == nil {
		t.Error("read after the end")
	}
	if err := s.Refuse("x"); err != io.EOF {
		t.Errorf("refuse after the end: %v", err)
	}
}

func TestSinkRefusesAfterwards(t *testing.T) {
	t.Parallel()
	// The content was read but could not be written, and the times of a directory could not be set.
	s, out := getting("C0644 5 f\nhello\x00D0755 0 d\nE\nC0644 1 g\nx\x00")
	s.Next()
	if _, err := io.Copy(failingWriter{}, s); !errors.Is(err, io.ErrShortWrite) || s.Broken() != nil {
		t.Fatalf("%v, %v", err, s.Broken())
	}
	if err := s.Refuse("disk\nfull\x1b\xff"); err != nil {
		t.Fatal(err)
	}
	s.Next()
	s.Next()
	if err := s.Refuse(strings.Repeat("y", 5000)); err != nil {
		t.Fatal(err)
	}
	if r, err := s.Next(); err != nil || r.Name != "g" {
		t.Fatalf("%+v, %v", r, err)
	}
	want := "\x00\x00\x01scp: disk?full?\xff\n\x00\x01scp: " + strings.Repeat("y", 1024) + "\n"
	if out.String() != want {
		t.Errorf("answered %q", out)
	}
}

type failingWriter struct{}

func (failingWriter) Write(p []byte) (int, error) { return len(p) / 2, nil }

func TestSinkAllocations(t *testing.T) {
	get := func(size int) float64 {
		record := fmt.Sprintf("C0644 %d f\n", size)
		s := NewSink(io.Discard, &forever{text: record + strings.Repeat("x", size) + "\x00"})
		return testing.AllocsPerRun(10, func() {
			if _, err := s.Next(); err != nil {
				t.Fatal(err)
			}
			if n, err := s.WriteTo(io.Discard); n != int64(size) || err != nil {
				t.Fatal(n, err)
			}
		})
	}
	if small, large := get(1000), get(4<<20); large > small+4 { // a pool may have been emptied meanwhile
		t.Errorf("%v allocations for 1,000 bytes, %v for 4 MiB", small, large)
	}
}

func FuzzSink(f *testing.F) {
	for _, seed := range []string{
		"", "T5 0 6 0\nC0644 5 a b\nhello\x00", "D0755 0 d\nD0700 0 e\nE\nC0600 1 f\nx\x00E\n", "\x01no\nC0644 0 \xff\n\x00",
		"\x02end\n", "C0644 3 f\n\x00\x00\x00\x01bad\n", "C0644 99999999999 ../x\n", "E\n", "hello\n", "C0644 9223372036854775807 f\nxx",
	} {
		f.Add([]byte(seed), uint8(0))
		f.Add([]byte(seed), uint8(5))
	}
	f.Fuzz(func(t *testing.T, said []byte, habits uint8) {
		s := NewSink(io.Discard, bytes.NewReader(said))
		depth, total := 0, int64(0)
		for i := 0; ; i++ {
			if i > len(said) {
				t.Fatal("more records than bytes")
			}
			r, err := s.Next()
			if s.Broken() != nil {
				if err != s.Broken() || err == io.EOF && depth != 0 {
					t.Fatalf("%v, %v at depth %d", err, s.Broken(), depth)
				}
				break
			}
			if err != nil {
				if !errors.As(err, new(*Warning)) || err.Error() == "" && !bytes.Contains(said, []byte("\x01\n")) {
					t.Fatalf("the stream goes on after %v", err)
				}
				continue
			}
			if r.Size < 0 || r.ModTime.After(time.Unix(maxTime, 999_999_999)) || r.Kind != EndDir && checkName(r.Name) != nil {
				t.Fatalf("%+v", r)
			}
			refuse := habits>>(i%8)&1 == 1
			switch {
			case r.Kind == EndDir:
				depth--
			case r.Kind == Dir && !refuse:
				depth++
			}
			if depth < 0 || depth > maxDepth {
				t.Fatalf("depth %d", depth)
			}
			switch {
			case refuse:
				s.Refuse("no")
			case r.Kind == File:
				n, err := io.Copy(io.Discard, s)
				total += n
				if n > r.Size || total > int64(len(said)) || err == nil && n != r.Size {
					t.Fatalf("%d bytes of %d, %v", n, r.Size, err)
				}
			}
		}
	})
}
