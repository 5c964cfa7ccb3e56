package termline

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// writes records every Write, and fails if it has an error.
type writes struct {
	mu  sync.Mutex
	got []string
	err error
}

func (w *writes) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return 0, w.err
	}
	w.got = append(w.got, string(p))
	return len(p), nil
}

func (w *writes) all() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.got)
}

func TestLinesAreWrittenTogetherAndSoon(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var out, err writes
		s := New(&out, &err)
		s.Out("a: ", "one")
		s.Out("b: ", "two")
		s.Err("a: ", "three")
		if got := out.all(); got != nil {
			t.Errorf("written at once: %q", got)
		}
		time.Sleep(flushDelay) // synctest's clock: takes no time
		synctest.Wait()
		if got := out.all(); !slices.Equal(got, []string{"a: one\nb: two\n"}) {
			t.Errorf("standard output: %q", got)
		}
		if got := err.all(); !slices.Equal(got, []string{"a: three\n"}) {
			t.Errorf("standard error: %q", got)
		}
		s.Out("", "later")
		time.Sleep(flushDelay)
		synctest.Wait()
		if got := out.all(); len(got) != 2 || got[1] != "later\n" {
			t.Errorf("standard output: %q", got)
		}
	})
}

func TestFullBufferIsWrittenInWholeLines(t *testing.T) {
	t.Parallel()
	var out writes
	s := New(&out, &writes{})
	line := strings.Repeat("x", 1000)
	for range 100 {
		s.Out("host: ", line)
	}
	s.Out("host: ", strings.Repeat("y", 1<<20))
	if len(out.all()) < 3 {
		t.Errorf("%d writes before the end", len(out.all()))
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, text := range out.all() {
		if !strings.HasPrefix(text, "host: ") || !strings.HasSuffix(text, "\n") {
			t.Errorf("a write of %d bytes is not made of whole lines", len(text))
		}
	}
	if got, want := len(strings.Join(out.all(), "")), 100*1007+1<<20+7; got != want {
		t.Errorf("%d bytes were written, want %d", got, want)
	}
}

func TestBytesPassUnchangedWithoutTerminal(t *testing.T) {
	t.Parallel()
	var out, err writes
	s := New(&out, &err)
	s.Out("a: ", "\x1b[31m\xff\r")
	s.Message("b \x1b[31m\xff\r")
	s.Close()
	if got := out.all(); !slices.Equal(got, []string{"a: \x1b[31m\xff\r\n"}) {
		t.Errorf("line: %q", got)
	}
	if got := err.all(); !slices.Equal(got, []string{"b ^[[31m\\xff^M\n"}) {
		t.Errorf("message: %q", got)
	}
}

func TestFailureIsReportedOnce(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	out := &writes{err: broken}
	s := New(out, &writes{})
	var reported []error
	s.OnFailure(func(err error) { reported = append(reported, err) })
	for range 3 {
		s.Out("", "x")
		if err := s.Failure(); err != broken {
			t.Errorf("Failure() = %v", err)
		}
	}
	if !slices.Equal(reported, []error{broken}) {
		t.Errorf("reported %v", reported)
	}
	if err := s.Close(); err != broken {
		t.Errorf("Close() = %v", err)
	}
}

// With 2>&1 both streams are the same file, and their lines keep their order.
func TestSameFileKeepsOrder(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "both")
	file, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	s := New(file, file)
	s.Out("", "1")
	s.Err("", "2")
	s.Out("", "3")
	s.Close()
	if got, _ := os.ReadFile(name); string(got) != "1\n2\n3\n" {
		t.Errorf("written: %q", got)
	}
}

// While a question is open nothing is shown, and the work on hosts goes on, until the buffer is full.
func TestOutputIsHeldBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var out, err writes
		s := New(&out, &err)
		s.Out("", "before")
		release := s.lock()
		if got := out.all(); !slices.Equal(got, []string{"before\n"}) {
			t.Errorf("before the question: %q", got)
		}
		lines := 0
		go func() {
			for range 2000 {
				s.Out("", strings.Repeat("x", 1023))
				lines++
			}
			s.Flush()
		}()
		s.Message("error")
		s.Flush()
		synctest.Wait()
		if lines != heldSize/1024-1 || len(out.all()) != 1 || err.all() != nil {
			t.Errorf("%d lines were taken, %d shown, and messages %q", lines, len(out.all())-1, err.all())
		}
		release()
		synctest.Wait()
		if got := strings.Join(out.all(), ""); lines != 2000 || len(got) != len("before\n")+2000*1024 || !slices.Equal(err.all(), []string{"error\n"}) {
			t.Errorf("after the question: %d lines, %d bytes, messages %q", lines, len(got), err.all())
		}
	})
}
