package termline

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/term"
)

// terminalPath is the terminal that the process was started from, whatever its
// standard streams are.
const terminalPath = "/dev/tty"

// HasTerminal reports whether there is a terminal to ask on.
func HasTerminal() bool {
	tty, err := os.OpenFile(terminalPath, os.O_RDWR, 0)
	if err != nil {
		return false
	}
	tty.Close()
	return true
}

// Ask puts a question to the user on the terminal of the process and returns the
// answer; without echo it is not shown while it is typed. Nothing else is shown
// meanwhile. The question may have several lines. When ctx ends the terminal is as it was before.
func (s *Screen) Ask(ctx context.Context, prompt string, echo bool) (string, error) {
	tty, err := os.OpenFile(terminalPath, os.O_RDWR, 0)
	if err != nil {
		return "", errors.New("there is no terminal to ask on")
	}
	defer s.hold()()
	if _, err := tty.WriteString(visibleLines(prompt)); err != nil {
		tty.Close()
		return "", fmt.Errorf("ask on the terminal: %w", err)
	}
	fd := int(tty.Fd())
	before, err := term.GetState(fd)
	if err != nil {
		tty.Close()
		return "", fmt.Errorf("ask on the terminal: %w", err)
	}
	type answer struct {
		text string
		err  error
	}
	answers := make(chan answer, 1)
	// A Read of a terminal cannot be ended from here: when ctx ends first, this
	// goroutine stays until the process does.
	go func() {
		text, err := read(tty, echo)
		answers <- answer{text, err}
	}()
	select {
	case a := <-answers:
		if !echo {
			_, _ = tty.WriteString("\n") // the user's line end was not shown
		}
		tty.Close()
		return a.text, a.err
	case <-ctx.Done():
		_, _ = tty.WriteString("\n")
		if err := term.Restore(fd, before); err != nil {
			return "", fmt.Errorf("restore the terminal: %w", err)
		}
		return "", context.Cause(ctx)
	}
}

// Held reports whether a question is being put to the user, or the terminal is lent: what is
// typed is for that.
func (s *Screen) Held() bool { return s.held.Load() > 0 }

// hold keeps everybody from showing anything, the status line too, until the returned
// function is called.
func (s *Screen) hold() (release func()) {
	s.held.Add(1)
	s.Flush()
	s.out.mu.Lock()
	if s.err != s.out {
		s.err.mu.Lock()
	}
	if s.status != nil {
		s.status.mu.Lock()
		s.status.wipe()
	}
	return func() {
		defer s.held.Add(-1)
		if s.status != nil {
			s.status.mu.Unlock()
		}
		if s.err != s.out {
			s.err.mu.Unlock()
		}
		s.out.mu.Unlock()
	}
}

// Lend gives the terminal of the process to another program, behind a line that says
// what for. Nothing else is shown until giveBack is called, and then the terminal is as
// it was before.
func (s *Screen) Lend(line string) (tty *os.File, giveBack func(), err error) {
	tty, err = os.OpenFile(terminalPath, os.O_RDWR, 0)
	if err != nil {
		return nil, nil, errors.New("there is no terminal to ask on")
	}
	fd := int(tty.Fd())
	before, err := term.GetState(fd)
	if err != nil {
		tty.Close()
		return nil, nil, fmt.Errorf("lend the terminal: %w", err)
	}
	release := s.hold()
	_, _ = tty.WriteString(Visible(line) + "\n") // what is asked stands below, or fails as well
	return tty, func() {
		_ = term.Restore(fd, before) // fails if the terminal is gone
		tty.Close()
		release()
	}, nil
}

// read reads a line.
func read(tty *os.File, echo bool) (string, error) {
	if !echo {
		secret, err := term.ReadPassword(int(tty.Fd()))
		return string(secret), err
	}
	var line []byte
	for b := make([]byte, 1); ; {
		if _, err := tty.Read(b); err != nil {
			return "", fmt.Errorf("read the answer: %w", err)
		}
		if b[0] == '\n' {
			return string(line), nil
		}
		line = append(line, b[0])
	}
}
