//go:build unix

package transport

import (
	"context"
	"errors"
	"os"
	"syscall"
)

// Programs with a Terminal are started like the background jobs of a shell: each in its own process
// group, in the background of the terminal. All run concurrently. If one reads from the terminal or
// turns off its echo, the kernel stops it (SIGTTIN, SIGTTOU). It is then brought to the foreground,
// one program at a time.

// interruptedStatus is the exit status of shells and many programs that Ctrl-C has ended.
const interruptedStatus = 128 + int(syscall.SIGINT)

// lending lends the terminal to a process.
type lending struct {
	*processConn
	terminal Terminal
	trace    Trace
	host     string
}

// watch lends the terminal when the process wants it. It returns when the process has written
// something or has ended.
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
				continue // another process stopped it, and may continue it
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

// lend keeps the process in the foreground until it has written something or has ended.
func (l *lending) lend(ctx context.Context) error {
	done := l.trace.Asking()
	defer done()
	tty, giveBack, err := l.terminal(ctx, l.host)
	if err != nil {
		return err
	}
	var ended os.Signal
	defer func() { giveBack(ended) }()
	ours := syscall.Getpgrp()
	if group, err := foreground(tty); err != nil || group != ours {
		return errors.New("this program runs in the background")
	}
	if err := setForeground(tty, l.pid); err != nil {
		return err
	}
	defer func() { _ = setForeground(tty, ours) }() // fails only if the terminal is gone
	for {
		l.signal(syscall.SIGCONT)
		select {
		case <-l.stopped: // also by Ctrl-Z: the shell that started us does not notice, so continue it
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
