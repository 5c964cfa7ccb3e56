// Package tty attaches the user's terminal to a command on one host: keys, output, window size, and
// the escapes that begin with "~".
package tty

import (
	"fmt"
	"io"
	"os"
	"sync"

	"golang.org/x/term"
)

// Terminal is the user's terminal.
//
// Between raw and restore, output is unchanged and every key can be read. The caller of raw defers
// restore, and every goroutine that uses the terminal in between defers restoreOnPanic.
type Terminal struct {
	in, out *os.File

	mu     sync.Mutex  // protects before
	before *term.State // nil: not raw
}

// New returns the terminal of standard input and output, or nil unless both are terminals.
func New(in io.Reader, out io.Writer) *Terminal {
	t := new(Terminal)
	t.in, _ = in.(*os.File)
	t.out, _ = out.(*os.File)
	if t.in == nil || t.out == nil || !term.IsTerminal(int(t.in.Fd())) || !term.IsTerminal(int(t.out.Fd())) {
		return nil
	}
	return t
}

// size returns the size of the terminal, or zeros if it is not known.
func (t *Terminal) size() (rows, cols int) {
	cols, rows, err := term.GetSize(int(t.out.Fd()))
	if err != nil {
		return 0, 0
	}
	return rows, cols
}

// raw switches the terminal to raw mode.
func (t *Terminal) raw() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	before, err := term.MakeRaw(int(t.in.Fd()))
	if err != nil {
		return fmt.Errorf("terminal: %w", err)
	}
	t.before = before
	return nil
}

// restore undoes raw. It may be called more than once.
func (t *Terminal) restore() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.before == nil {
		return
	}
	_ = term.Restore(int(t.in.Fd()), t.before) // this fails only if the terminal is gone
	t.before = nil
}

// restoreOnPanic restores the terminal if its goroutine panics. Such a panic ends the process without
// running the deferred calls of other goroutines.
func (t *Terminal) restoreOnPanic() {
	if p := recover(); p != nil {
		t.restore()
		panic(p)
	}
}

// IsTerminal reports whether in is a terminal.
func IsTerminal(in io.Reader) bool {
	file, ok := in.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}
