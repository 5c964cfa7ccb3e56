package transport

import (
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// canLend says that a program can be brought to the foreground of a terminal.
const canLend = true

// foreground returns the group that is in the foreground of a terminal.
func foreground(tty *os.File) (int, error) {
	return unix.IoctlGetInt(int(tty.Fd()), unix.TIOCGPGRP)
}

// setForeground brings a group to the foreground. From the background that is allowed
// only to a thread that has SIGTTOU blocked. Ignoring the signal would do for us, but
// processes that are started meanwhile would ignore it as well.
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
