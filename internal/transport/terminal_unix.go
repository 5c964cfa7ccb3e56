//go:build unix

package transport

import (
	"context"
	"errors"
	"os"
	"syscall"
)

// Programs that may ask are started as a shell with job control starts commands behind
// which it goes on: in a group of their own, in the background of the terminal. All run
// at the same time. One that reads from the terminal, or turns off its echo, is stopped
// by the kernel (SIGTTIN, SIGTTOU). That is the sign to bring it to the foreground, one
// at a time.

// interruptedStatus is what shells, and programs in their manner, end with when Ctrl-C has
// ended them.
const interruptedStatus = 128 + int(syscall.SIGINT)

// lending lends the terminal to a process.
type lending struct {
	*processConn
	terminal Terminal
	trace    Trace
	host     string
}

// watch waits for the process to want the terminal, until it is in no need of it any more.
func (l *lending) watch(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	l.wg.Go(func() {
		select {
		case <-l.closing:
			cancel()
		case <-ctx.Done():
		}
	})
	for {
		select {
		case sig := <-l.stopped:
			if sig != syscall.SIGTTIN && sig != syscall.SIGTTOU {
				continue // somebody has stopped it, and may let it go on
			}
		case <-l.heard:
			return
		case <-l.exited:
			return
		case <-l.closing:
			return
		}
		err := l.lend(ctx)
		if err != nil {
			l.refused.Store(&err)
			l.signal(syscall.SIGKILL)
			return
		}
	}
}

// lend has the process in the foreground until it has answered or ended.
func (l *lending) lend(ctx context.Context) error {
	done := l.trace.Asking()
	defer done()
	tty, giveBack, err := l.terminal(ctx, l.host)
	if err != nil {
		return err
	}
	var ended os.Signal
	defer func() { giveBack(ended) }()
	us := syscall.Getpgrp()
	if holder, err := foreground(tty); err != nil || holder != us {
		return errors.New("this program runs in the background")
	}
	if err := setForeground(tty, l.pid); err != nil {
		return err
	}
	defer func() { _ = setForeground(tty, us) }() // fails if the terminal is gone
	for {
		l.signal(syscall.SIGCONT)
		select {
		case <-l.stopped: // also by Ctrl-Z: who started us knows nothing of it
		case <-l.heard:
			return nil
		case <-l.closing:
			return nil
		case <-l.exited:
			switch {
			case l.status.Signaled():
				ended = l.status.Signal()
			case l.status.ExitStatus() == interruptedStatus:
				ended = syscall.SIGINT
			}
			return nil
		}
	}
}
