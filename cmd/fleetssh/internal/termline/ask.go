package termline

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/term"
)

// terminalPath is the controlling terminal of the process, whatever its standard streams are.
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

// maxAnswer bounds an answer, in bytes. Terminals make lines of 4 KiB.
const maxAnswer = 64 << 10

// Ask asks the user on the terminal of the process and returns the answer. Without echo, the answer
// is not shown while it is typed. Nothing else is shown meanwhile. The question may have several
// lines. When Ask returns, also because ctx has ended, the terminal is as it was before, and Ask reads
// no further input.
func (s *Screen) Ask(ctx context.Context, prompt string, echo bool) (string, error) {
	tty, err := os.OpenFile(terminalPath, os.O_RDWR, 0)
	if err != nil {
		return "", errors.New("there is no terminal to ask on")
	}
	defer tty.Close()
	keys, err := NewKeys(tty)
	if err != nil {
		return "", fmt.Errorf("ask on the terminal: %w", err)
	}
	defer keys.Close()
	defer context.AfterFunc(ctx, keys.End)()
	defer s.lock()()
	line, err := ask(tty, keys, prompt, echo)
	if err == io.EOF && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return line, err
}

// ask sets the terminal before it shows the question: otherwise a secret that is typed at once would
// be echoed.
func ask(tty *os.File, keys *Keys, prompt string, echo bool) (line string, err error) {
	fd := int(tty.Fd())
	before, err := term.GetState(fd)
	if err != nil {
		return "", fmt.Errorf("ask on the terminal: %w", err)
	}
	defer func() {
		if e := term.Restore(fd, before); e != nil && err == nil {
			line, err = "", fmt.Errorf("restore the terminal: %w", e)
		}
	}()
	if err := answerMode(tty, echo); err != nil {
		return "", fmt.Errorf("ask on the terminal: %w", err)
	}
	if _, err := tty.WriteString(visibleLines(prompt)); err != nil {
		return "", fmt.Errorf("ask on the terminal: %w", err)
	}
	line, err = readLine(keys)
	if !echo || err != nil {
		_, _ = tty.WriteString("\n") // the newline of the user was not echoed
	}
	return line, err
}

// readLine reads an answer. At the end of input it returns [io.EOF].
func readLine(from io.Reader) (string, error) {
	var line []byte
	for b := make([]byte, 1); ; {
		n, err := from.Read(b)
		switch {
		case err == io.EOF && len(line) > 0:
			return string(line), nil
		case err != nil:
			return "", err
		case n == 0:
		case b[0] == '\n':
			return string(line), nil
		case b[0] == '\b': // a second erase key
			line = line[:max(len(line)-1, 0)]
		case len(line) == maxAnswer:
			return "", fmt.Errorf("the answer has more than %d bytes", maxAnswer)
		case b[0] != '\r':
			line = append(line, b[0])
		}
	}
}

// lock holds back all output, including the status line, until the returned function is called. The
// work on hosts goes on meanwhile, until the streams hold heldSize of output.
func (s *Screen) lock() (release func()) {
	s.asking.Lock()
	back := s.leaveCover()
	s.out.hold()
	if s.err != s.out {
		s.err.hold()
	}
	if s.status != nil {
		s.status.hold(true)
	}
	return func() {
		defer s.asking.Unlock()
		defer back()
		if s.status != nil {
			s.status.hold(false)
		}
		if s.err != s.out {
			s.err.release()
		}
		s.out.release()
	}
}

// Lend gives the terminal of the process to another program, after showing a line that says why.
// Nothing else is shown until giveBack is called, which restores the terminal.
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
	release := s.lock()
	_, _ = tty.WriteString(Visible(line) + "\n") // if this fails, the question of the program fails too
	return tty, func() {
		_ = term.Restore(fd, before) // fails if the terminal is gone
		tty.Close()
		release()
	}, nil
}
