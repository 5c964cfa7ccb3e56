package scp

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"time"
)

// sending returns a source whose remote side sends these answers, and what the source writes.
func sending(answers string) (*Source, *bytes.Buffer) {
	var out bytes.Buffer
	return NewSource(&out, strings.NewReader(answers)), &out
}

func TestSourceWrites(t *testing.T) {
	t.Parallel()
	s, out := sending(strings.Repeat("\x00", 9))
	steps := []error{
		s.Dir(Record{Name: "d", Mode: 0o755, ModTime: time.Unix(5, 0)}),
		s.File(Record{Name: "a b", Mode: 0o4755, Size: 2, ModTime: time.Unix(6, 0)}, strings.NewReader("hi and more")),
		s.File(Record{Name: "\xff"}, nil),
		s.EndDir(),
		s.Finish(),
	}
	if err := errors.Join(steps...); err != nil {
		t.Fatal(err)
	}
	want := "T5 0 5 0\nD0755 0 d\nT6 0 6 0\nC0755 2 a b\nhi\x00C0000 0 \xff\n\x00E\n"
	if out.String() != want {
		t.Errorf("%q, want %q", out, want)
	}
}

func TestSourceWarnings(t *testing.T) {
	t.Parallel()
	// The second file is refused, the third cannot be written completely, and the directory cannot
	// be made.
	s, out := sending("\x00" + "\x00\x00" + "\x01no\n" + "\x00\x01disk full\n" + "\x01not a directory\n" + "\x00\x00")
	for i, want := range []string{"", "no", "disk full"} {
		err := s.File(Record{Name: string(rune('a' + i)), Size: 1}, strings.NewReader("x"))
		checkWarning(t, err, want)
	}
	checkWarning(t, s.Dir(Record{Name: "d"}), "not a directory")
	if err := s.EndDir(); err == nil || s.Broken() != nil {
		t.Errorf("the end of a directory that has not begun: %v, %v", err, s.Broken())
	}
	checkWarning(t, s.File(Record{Name: "e", Size: 1}, strings.NewReader("x")), "")
	if err := s.Warn("g: gone\n"); err != nil {
		t.Error(err)
	}
	if want := "C0000 1 a\nx\x00C0000 1 b\nC0000 1 c\nx\x00D0000 0 d\nC0000 1 e\nx\x00\x01scp: g: gone?\n"; out.String() != want {
		t.Errorf("%q, want %q", out, want)
	}
	if err := s.Broken(); err != nil {
		t.Error(err)
	}
}

func checkWarning(t *testing.T, err error, text string) {
	t.Helper()
	var warning *Warning
	switch {
	case text == "" && err != nil:
		t.Errorf("error %v", err)
	case text != "" && (!errors.As(err, &warning) || warning.Text != text):
		t.Errorf("error %v, want the warning %q", err, text)
	}
}

func TestSourceLocalFailures(t *testing.T) {
	t.Parallel()
	gone := errors.New("gone")
	for _, test := range []struct {
		name    string
		content io.Reader
		sent    string
		err     error
	}{
		{"short", strings.NewReader("abc"), "abc", io.ErrUnexpectedEOF},
		{"empty", strings.NewReader(""), "", io.ErrUnexpectedEOF},
		{"failing", io.MultiReader(strings.NewReader("ab"), failing{gone}), "ab", gone},
		{"idle", failing{nil}, "", io.ErrNoProgress},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			const size = 3 * chunk / 2
			s, out := sending("\x00\x00\x00\x00\x00")
			err := s.File(Record{Name: "f", Size: size}, test.content)
			var failed *ContentError
			if !errors.As(err, &failed) || failed.Sent != int64(len(test.sent)) || !errors.Is(err, test.err) {
				t.Fatalf("error %v", err)
			}
			content := test.sent + strings.Repeat("\x00", size-len(test.sent))
			if want := "C0000 49152 f\n" + content + "\x01scp: f: cannot be read\n"; out.String() != want {
				t.Errorf("%d bytes were sent, want %d", out.Len(), len(want))
			}
			// Both sides are still in step.
			if err := s.File(Record{Name: "g", Size: 1}, strings.NewReader("x")); err != nil || !strings.HasSuffix(out.String(), "C0000 1 g\nx\x00") {
				t.Errorf("the next file: %v", err)
			}
		})
	}
}

// failing is a reader that returns no bytes, and an error or none.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func TestSourceBothFail(t *testing.T) {
	t.Parallel()
	s, _ := sending("\x00\x00\x01disk full\n")
	err := s.File(Record{Name: "f", Size: 10}, strings.NewReader("abc"))
	checkWarning(t, err, "disk full")
	if !errors.As(err, new(*ContentError)) || s.Broken() != nil {
		t.Errorf("%v, %v", err, s.Broken())
	}
}

func TestSourceBroken(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, answers, want string }{
		{"silent end", "", "unexpected EOF"},
		{"end after the start", "\x00", "unexpected EOF"},
		{"end after the record", "\x00\x00", "unexpected EOF"},
		{"fatal", "\x00\x02that is all\n", "that is all"},
		{"not a directory", "\x01scp: x: Not a directory\n", "scp: x: Not a directory"},
		{"a shell", "bash: scp: command not found\n", `"bash: scp: command not found" instead of an answer`},
		{"a profile", "Welcome to \x1b[1mhost\n\x00", `"Welcome to \x1b[1mhost" instead of an answer`},
		{"half a line", "\x00\x01hal", "unexpected EOF"},
		{"endless line", "\x00\x01" + strings.Repeat("x", 100_000), "more than 5120 bytes"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s, _ := sending(test.answers)
			err := s.File(Record{Name: "f", Size: 1}, strings.NewReader("x"))
			if err == nil || !strings.Contains(err.Error(), test.want) || errors.As(err, new(*Warning)) {
				t.Fatalf("error %v, want %q", err, test.want)
			}
			if s.Broken() != err || s.Dir(Record{Name: "d"}) != err || s.Finish() != nil {
				t.Error("the stream has not ended")
			}
		})
	}
}

func TestSourceRefusesLocally(t *testing.T) {
	t.Parallel()
	s, out := sending("\x00\x00\x00\x00")
	for _, name := range []string{"", ".", "..", "a/b", "a\x00", "a\nb", strings.Repeat("x", maxName+1)} {
		if err := s.File(Record{Name: name}, nil); !errors.As(err, new(*NameError)) {
			t.Errorf("file %.20q: %v", name, err)
		}
		if err := s.Dir(Record{Name: name}); !errors.As(err, new(*NameError)) {
			t.Errorf("directory %.20q: %v", name, err)
		}
	}
	if err := s.File(Record{Name: "x", Size: -1}, nil); err == nil {
		t.Error("a negative size was sent")
	}
	if out.Len() > 0 || s.Broken() != nil {
		t.Errorf("%q was sent, %v", out, s.Broken())
	}
}

func TestSourceLateWarnings(t *testing.T) {
	t.Parallel()
	const late = "\x01scp: d: set times: Operation not permitted\n"
	timed := Record{Name: "d", ModTime: time.Unix(1, 0)}
	// The answers to T, D and E, then the warning, then the answers to the file.
	s, _ := sending("\x00" + "\x00\x00\x00" + late + "\x00\x00" + "\x00\x00\x00" + late)
	steps := []error{s.Dir(timed), s.EndDir(), s.File(Record{Name: "f"}, nil), s.Dir(timed), s.EndDir()}
	if err := errors.Join(steps...); err != nil {
		t.Fatal(err)
	}
	err := s.Finish()
	if err == nil || strings.Count(err.Error(), "set times") != 2 || !errors.As(err, new(*Warning)) {
		t.Errorf("finish: %v", err)
	}
	// The same text after a file is the answer to the file.
	s, _ = sending("\x00\x00\x00" + late)
	checkWarning(t, s.File(timed, nil), late[1:len(late)-1])
	if err := s.Finish(); err != nil {
		t.Error(err)
	}
	// One answer too many.
	s, _ = sending("\x00\x00\x00\x00")
	if err := errors.Join(s.File(Record{Name: "f"}, nil), s.Finish()); !isProtocol(err) {
		t.Errorf("an answer too many: %v", err)
	}
	// Endless warnings are not kept.
	s, _ = sending("\x00" + strings.Repeat("\x01w\n", 10_000))
	if err := s.Finish(); err == nil || strings.Count(err.Error(), "w") != maxLate {
		t.Errorf("endless warnings: %.100v", err)
	}
}

// TestSourceAllocations: allocations do not grow with the content.
func TestSourceAllocations(t *testing.T) {
	answers := strings.Repeat("\x00", 1000)
	send := func(size int64) float64 {
		s := NewSource(io.Discard, strings.NewReader(answers))
		return testing.AllocsPerRun(10, func() {
			if err := s.File(Record{Name: "f", Size: size}, zeros{}); err != nil {
				t.Fatal(err)
			}
		})
	}
	if small, large := send(1000), send(16<<20); large > small+4 { // a pool may have been emptied meanwhile
		t.Errorf("%v allocations for 1,000 bytes, %v for 16 MiB", small, large)
	}
}

// zeros is an endless file.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

func FuzzSource(f *testing.F) {
	for _, seed := range []string{
		strings.Repeat("\x00", 20), "", "\x00\x00\x01no\n\x00\x00", "\x02end\n", "hello\n",
		"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01scp: d: set times: no\n\x00\x00\x00",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, answers []byte) {
		var out bytes.Buffer
		s := NewSource(&out, bytes.NewReader(answers))
		now := time.Unix(1, 0)
		sent := 0
		count := func(err error) {
			switch {
			case err == nil && s.Broken() != nil:
				t.Errorf("no error, but the stream ended with %v", s.Broken())
			case err == nil:
				sent++
			case s.Broken() == nil && !errors.As(err, new(*Warning)) && !errors.As(err, new(*ContentError)):
				t.Errorf("the stream goes on after %v", err)
			}
		}
		if err := s.Dir(Record{Name: "d", ModTime: now}); err == nil {
			count(s.File(Record{Name: "a", Size: 5, ModTime: now}, strings.NewReader("hello")))
			count(s.File(Record{Name: "b", Size: 5}, strings.NewReader("he")))
			count(s.EndDir())
		}
		count(s.File(Record{Name: "c"}, nil))
		s.Finish()
		if sent > bytes.Count(answers, []byte{0}) {
			t.Errorf("%d records were sent with the answers %q", sent, answers)
		}
		// Whatever the answers were, the output follows the protocol.
		if answered := bytes.IndexByte(answers, 1) < 0 && s.Broken() == io.ErrClosedPipe; answered {
			sink := NewSink(io.Discard, bytes.NewReader(out.Bytes()))
			for {
				if _, err := sink.Next(); err == io.EOF {
					break
				} else if sink.Broken() != nil {
					t.Fatalf("%q: %v", out.Bytes(), err)
				}
				io.Copy(io.Discard, sink)
			}
		}
	})
}
