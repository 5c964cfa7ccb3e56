package transport

import (
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// canLend says whether the terminal can be lent to a program.
const canLend = true

// foreground returns the foreground process group of a terminal.
func foreground(tty *os.File) (int, error) {
	return unix.IoctlGetInt(int(tty.Fd()), unix.TIOCGPGRP)
}

// setForeground sets the foreground process group of a terminal. From the background, only a thread
// that blocks SIGTTOU may do so. This process could ignore the signal instead, but the processes
// that it starts meanwhile would inherit that.
func setForeground(tty *os.File, group int) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var block, before unix.Sigset_t
	block.Val[0] = 1 << (unix.SIGTTOU - 1)
	if err := unix.PthreadSigmask(unix.SIG_BLOCK, &block, &before); err != nil {
		return err
	}
	err := unix.IoctlSetPointerInt(int(tty.Fd()), unix.TIOCSPGRP, group)
	if restored := unix.PthreadSigmask(unix.SIG_SETMASK, &before, nil); err == nil {
		err = restored
	}
	return err
}
