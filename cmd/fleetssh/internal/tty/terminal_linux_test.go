package tty

import (
	"testing"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
)

// A panic is passed on, and the terminal is restored.
func TestTerminalAfterPanic(t *testing.T) {
	t.Parallel()
	tty, slave, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer tty.Close()
	defer slave.Close()
	termios := func() unix.Termios {
		state, err := unix.IoctlGetTermios(int(slave.Fd()), unix.TCGETS)
		if err != nil {
			t.Fatal(err)
		}
		return *state
	}
	before := termios()
	own := New(slave, slave)
	if err := own.raw(); err != nil {
		t.Fatal(err)
	}
	if termios() == before {
		t.Fatal("the terminal is not raw")
	}
	defer func() {
		if p := recover(); p != "out of order" {
			t.Errorf("recovered %v", p)
		}
		if after := termios(); after != before {
			t.Errorf("the terminal is left as %+v, want %+v as before", after, before)
		}
	}()
	defer own.restoreOnPanic()
	panic("out of order")
}
