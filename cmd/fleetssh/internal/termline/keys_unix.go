//go:build unix

package termline

import (
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Keys reads what is typed on a terminal, until it is ended.
//
// A Read of a terminal cannot be ended and, left behind, takes a line from whoever reads
// next. So Keys reads only when there is something to read.
type Keys struct {
	from       *os.File
	wake, stop *os.File // the two ends of a pipe
}

// NewKeys returns a reader of a terminal. Close must be called after the last Read.
func NewKeys(from *os.File) (*Keys, error) {
	wake, stop, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	return &Keys{from: from, wake: wake, stop: stop}, nil
}

// Read implements [io.Reader]. It returns [io.EOF] once End has been called.
func (k *Keys) Read(p []byte) (int, error) {
	if !k.wait() {
		return 0, io.EOF
	}
	return k.from.Read(p)
}

// End makes Read return, now and from now on. It may be called at any time, and twice.
func (k *Keys) End() { k.stop.Close() }

// Close gives up what Read used. The terminal stays open.
func (k *Keys) Close() {
	k.stop.Close()
	k.wake.Close()
}

// wait blocks until there is something to read. It reports false when End has been called.
func (k *Keys) wait() bool {
	fds := []unix.PollFd{{Fd: int32(k.wake.Fd()), Events: unix.POLLIN}, {Fd: int32(k.from.Fd()), Events: unix.POLLIN}}
	for {
		if _, err := unix.Poll(fds, -1); err == unix.EINTR {
			continue
		}
		// An error, or a terminal that poll(2) does not know: Read tells, or waits.
		return fds[0].Revents == 0
	}
}

// pause blocks for d. It reports false as soon as End has been called.
func (k *Keys) pause(d time.Duration) bool {
	fds := []unix.PollFd{{Fd: int32(k.wake.Fd()), Events: unix.POLLIN}}
	_, _ = unix.Poll(fds, int(d.Milliseconds())) // a signal ends the pause early, which does no harm
	return fds[0].Revents == 0
}

// enterPause is how long OnEnter leaves alone what was typed for somebody else.
const enterPause = 200 * time.Millisecond

// OnEnter calls report whenever the user has typed a line on terminal, until stop is called.
// What is typed while the screen asks or has lent the terminal is left alone, and so is what
// another program reads: a shell in the foreground, or a pager, which takes single keys.
func (s *Screen) OnEnter(terminal *os.File, report func()) (stop func()) {
	keys, err := NewKeys(terminal)
	if err != nil {
		return func() {} // without descriptors there are other ways to ask
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for keys.wait() {
			typed, err := s.takeLine(terminal)
			if err != nil {
				return
			}
			if typed {
				report()
			} else if !keys.pause(enterPause) {
				return
			}
		}
	}()
	return func() {
		keys.End()
		<-ended
		keys.Close()
	}
}

// takeLine takes a line that has been typed, if it is there and meant for nobody else. An error
// means that the terminal will have no more.
//
// The lock is what keeps this from being a second reader beside Ask: between the look for a line
// and the reading of it, Ask could take it, and the read here would then wait for the next line,
// take the next answer, and keep OnEnter's stop waiting for a key.
func (s *Screen) takeLine(terminal *os.File) (bool, error) {
	if !s.asking.TryLock() {
		return false, nil
	}
	defer s.asking.Unlock()
	fd := int(terminal.Fd())
	group, err := unix.IoctlGetInt(fd, unix.TIOCGPGRP)
	if err != nil {
		return false, err
	}
	mode, err := unix.IoctlGetTermios(fd, getMode)
	if err != nil {
		return false, err
	}
	if group != unix.Getpgrp() || mode.Lflag&unix.ICANON == 0 {
		return false, nil
	}
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	if n, err := unix.Poll(fds, 0); err == unix.EINTR || err == nil && n == 0 {
		return false, nil
	}
	line := make([]byte, 4096) // as long as a terminal makes lines
	n, err := terminal.Read(line)
	return n > 0, err
}

// answerMode has whole lines read, with the usual keys to edit them, whatever the terminal was
// left in, and shows them or not.
func answerMode(terminal *os.File, echo bool) error {
	fd := int(terminal.Fd())
	mode, err := unix.IoctlGetTermios(fd, getMode)
	if err != nil {
		return err
	}
	mode.Lflag |= unix.ICANON | unix.ISIG | unix.ECHO
	if !echo {
		mode.Lflag &^= unix.ECHO
	}
	mode.Iflag |= unix.ICRNL
	return unix.IoctlSetTermios(fd, setMode, mode)
}
