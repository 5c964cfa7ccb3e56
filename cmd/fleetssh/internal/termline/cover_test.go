package termline

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// newCovered returns a screen whose streams are terminals.
func newCovered(out, err *writes) *Screen {
	s := New(out, err)
	s.out.terminal, s.err.terminal = true, true
	return s
}

// While a view covers the terminal, nothing is written to it; afterwards everything is.
func TestCover(t *testing.T) {
	t.Parallel()
	var out, err writes
	s := newCovered(&out, &err)
	var notices []string
	uncover := s.SetCover(Cover{Leave: func() {}, Return: func() {}, Notice: func(line string) { notices = append(notices, line) }})
	s.Message("first")
	s.Out("", "output")
	s.Styled(Span{Text: "sec"}, Span{Text: "ond"})
	s.Flush()
	if got := append(out.all(), err.all()...); len(got) > 0 {
		t.Errorf("written under the cover: %q", got)
	}
	if want := []string{"first", "second"}; !slices.Equal(notices, want) {
		t.Errorf("notices %q, want %q", notices, want)
	}
	uncover()
	uncover()
	if got := strings.Join(out.all(), ""); got != "output\n" {
		t.Errorf("standard output: %q", got)
	}
	if got := strings.Join(err.all(), ""); got != "first\nsecond\n" {
		t.Errorf("standard error: %q", got)
	}
}

// A question takes the place of the view, with the messages before it.
func TestQuestionUnderCover(t *testing.T) {
	t.Parallel()
	var out, err writes
	s := newCovered(&out, &err)
	var steps []string
	step := func(name string) func() {
		return func() { steps = append(steps, name+" "+strings.Join(err.all(), "")) }
	}
	defer s.SetCover(Cover{Leave: step("leave"), Return: step("return")})()
	s.Message("why")
	release := s.lock()
	step("question")()
	release()
	s.Message("later")
	s.Flush()
	step("end")()
	if want := []string{"leave ", "question why\n", "return why\n", "end why\n"}; !slices.Equal(steps, want) {
		t.Errorf("steps %q, want %q", steps, want)
	}
}

// What waits is bounded, and what was dropped is counted.
func TestCoverIsBounded(t *testing.T) {
	t.Parallel()
	var out, err writes
	s := newCovered(&out, &err)
	uncover := s.SetCover(Cover{})
	line := strings.Repeat("x", 1023)
	for range 3 << 10 {
		s.Out("", line)
		if n := len(s.out.buf); n > heldSize {
			t.Fatalf("%d bytes wait", n)
		}
	}
	uncover()
	got := strings.Split(strings.TrimSuffix(strings.Join(out.all(), ""), "\n"), "\n")
	kept := len(got) - 1
	if want := fmt.Sprintf("fleetssh: %d more lines were dropped while the view covered the terminal", 3<<10-kept); got[kept] != want || kept < 1000 {
		t.Errorf("after %d lines: %q, want %q", kept, got[kept], want)
	}
}

// A stream that is no terminal is not covered.
func TestCoverLeavesFilesAlone(t *testing.T) {
	t.Parallel()
	var out, err writes
	s := New(&out, &err)
	s.out.terminal = true
	defer s.SetCover(Cover{})()
	s.Message("to the file")
	s.Flush()
	if got := err.all(); !slices.Equal(got, []string{"to the file\n"}) {
		t.Errorf("standard error: %q", got)
	}
}
