package fleetssh

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"fleetssh/internal/charset"
	"fleetssh/internal/spool"
)

// newTestOutput returns an output that has received the data to its end, in pieces of the given
// size.
func newTestOutput(t testing.TB, data []byte, piece int, encoding string) *Output {
	t.Helper()
	text, err := charset.Find(encoding)
	if err != nil {
		t.Fatal(err)
	}
	out := newOutput(&HostConfig{}, spool.NewBudget(1<<20), streamOptions{text: text})
	for len(data) > 0 {
		n := min(piece, len(data))
		out.stream.Write(data[:n])
		data = data[n:]
	}
	out.stream.CloseWrite(nil)
	return out
}

func TestLines(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", lineLimit)
	for _, test := range []struct {
		name, data string
		want       []string
	}{
		{"nothing", "", nil},
		{"one", "a\n", []string{"a"}},
		{"last without newline", "a\nb", []string{"a", "b"}},
		{"empty lines", "\n\na\n\n", []string{"", "", "a", ""}},
		{"CRLF", "a\r\nb\r\n", []string{"a", "b"}},
		{"one CR only", "a\r\r\n", []string{"a\r"}},
		{"lone CR", "a\rb\n", []string{"a\rb"}},
		{"CR at the end", "a\r", []string{"a\r"}},
		{"NUL", "a\x00b\n", []string{"a\x00b"}},
		{"just a CR and a newline", "\r\n", []string{""}},
		{"the longest line", long + "\n", []string{long}},
		{"the longest line with CRLF", long + "\r\nb\n", []string{long, "b"}},
		{"longer than the longest", long + "yz\nb\n", []string{long, "yz", "b"}},
		{"twice as long without newline", long + long + "z", []string{long, long + "z"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			for _, piece := range []int{1, 2, 3, 7, 512, 40_000, 1 << 22} {
				if len(test.data) > 10_000 && piece < 512 {
					continue
				}
				var got []string
				for line, err := range newTestOutput(t, []byte(test.data), piece, "").Lines(t.Context()) {
					if err != nil {
						t.Fatal(err)
					}
					got = append(got, line)
				}
				if !slices.Equal(got, test.want) {
					t.Errorf("%d bytes at a time: %d lines %.40q, want %d %.40q", piece, len(got), got, len(test.want), test.want)
				}
			}
		})
	}
}

func TestLinesContinue(t *testing.T) {
	t.Parallel()
	out := newTestOutput(t, []byte("a\nb\nc\nd"), 3, "")
	take := func(n int) (lines []string) {
		for line := range out.Lines(t.Context()) {
			lines = append(lines, line)
			if len(lines) == n {
				break
			}
		}
		return lines
	}
	if got := take(1); !slices.Equal(got, []string{"a"}) {
		t.Errorf("first: %q", got)
	}
	buf := make([]byte, 1)
	if n, err := out.Read(buf); n != 1 || err != nil || buf[0] != 'b' {
		t.Errorf("Read between: %q, %v", buf[:n], err)
	}
	if got := take(10); !slices.Equal(got, []string{"", "c", "d"}) {
		t.Errorf("rest: %q", got)
	}
}

func TestPartialLineSurvivesTimeout(t *testing.T) {
	t.Parallel()
	out := newOutput(&HostConfig{}, spool.NewBudget(1<<20), streamOptions{readTimeout: time.Millisecond})
	out.stream.Write([]byte("begun, "))
	var timeouts int
	var lines []string
	for range 3 {
		for line, err := range out.Lines(t.Context()) {
			if err != nil {
				if timeout, ok := errors.AsType[*TimeoutError](err); !ok || timeout.Phase != "read" {
					t.Fatal(err)
				}
				timeouts++
				break
			}
			lines = append(lines, line)
		}
		if timeouts == 2 && len(lines) == 0 {
			out.stream.Write([]byte("done\nnext"))
		}
	}
	if timeouts != 3 || !slices.Equal(lines, []string{"begun, done"}) {
		t.Errorf("%d time-outs, lines %q", timeouts, lines)
	}
	out.stream.CloseWrite(nil)
	rest, err := io.ReadAll(out)
	if err != nil || string(rest) != "next" {
		t.Errorf("rest %q, %v", rest, err)
	}
}

func TestEncodings(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, encoding, data, want string }{
		{"UTF-8", "utf-8", "grüße\n", "grüße"},
		{"Latin 1", "ISO-8859-1", "gr\xfc\xdfe\n", "grüße"},
		{"Windows", "windows-1252", "\x80 5\r\n", "€ 5"},
		{"Japanese", "Shift_JIS", "\x93\xfa\x96\x7b\n", "日本"},
		{"Chinese", "GB18030", "\xd6\xd0\n", "中"},
		{"two bytes a character", "UTF-16LE", "a\x00\r\x00\n\x00", "a"},
		{"a newline across characters", "UTF-16BE", "\x01\x0a\x00\x41\x00\x0a", "ĊA"},
		{"EBCDIC", "IBM037", "\xc8\x89\x25", "Hi"},
	} {
		t.Run(test.name, func(t *testing.T) {
			for piece := 1; piece < 5; piece++ {
				n := 0
				for line, err := range newTestOutput(t, []byte(test.data), piece, test.encoding).Lines(t.Context()) {
					if err != nil || line != test.want {
						t.Errorf("%d at a time: %q, %v, want %q", piece, line, err, test.want)
					}
					n++
				}
				if n != 1 {
					t.Errorf("%d at a time: %d lines", piece, n)
				}
			}
		})
	}
	for _, name := range []string{"no-such-thing", "UTF-16"} {
		if _, err := charset.Find(name); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

func TestBytesThatDoNotDecode(t *testing.T) {
	t.Parallel()
	for _, encoding := range []string{"", "Shift_JIS"} {
		var got []string
		for line, err := range newTestOutput(t, []byte("good\n\x81\xff\nalso good\n"), 100, encoding).Lines(t.Context()) {
			if _, bad := errors.AsType[*DecodeError](err); bad != (line == "\x81\xff") {
				t.Errorf("line %q comes with %v", line, err)
			}
			got = append(got, line)
		}
		if want := []string{"good", "\x81\xff", "also good"}; !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", encoding, got, want)
		}
	}
}

// FuzzLines compares Lines with splitting all data at once, for pieces of any size, and checks that
// Lines continues where Read has stopped.
func FuzzLines(f *testing.F) {
	f.Add([]byte("a\r\nb\n\nc"), 2, 1)
	f.Add([]byte("\r\r\n\n\x00\xff"), 1, 0)
	f.Fuzz(func(t *testing.T, data []byte, piece, read int) {
		if piece < 1 || read < 0 || read > 1000 {
			return
		}
		var want []string
		whole := string(data)
		for whole != "" {
			line, rest, found := strings.Cut(whole, "\n")
			if found {
				line = strings.TrimSuffix(line, "\r")
			}
			want, whole = append(want, line), rest
		}
		var got []string
		for line := range newTestOutput(t, data, piece, "").Lines(t.Context()) {
			got = append(got, line)
		}
		if !slices.Equal(got, want) {
			t.Fatalf("%q in pieces of %d bytes: %q, want %q", data, piece, got, want)
		}
		// Reading raw first leaves the rest to Lines.
		out := newTestOutput(t, data, piece, "")
		head := make([]byte, read)
		n, _ := io.ReadFull(out, head)
		rest := newTestOutput(t, data[n:], piece, "")
		if !bytes.Equal(head[:n], data[:n]) {
			t.Fatalf("Read gave %q of %q", head[:n], data)
		}
		next := func(o *Output) (lines []string) {
			for line := range o.Lines(t.Context()) {
				lines = append(lines, line)
			}
			return lines
		}
		if a, b := next(out), next(rest); !slices.Equal(a, b) {
			t.Fatalf("after Read: %q, want %q", a, b)
		}
	})
}

func BenchmarkLines(b *testing.B) {
	data := bytes.Repeat([]byte("y\n"), 16<<10)
	budget := spool.NewBudget(16 << 20)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		out := newOutput(&HostConfig{}, budget, streamOptions{})
		out.stream.Write(data)
		out.stream.CloseWrite(nil)
		for range out.Lines(b.Context()) {
		}
	}
}
