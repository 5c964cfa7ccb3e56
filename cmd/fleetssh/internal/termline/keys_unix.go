//go:build unix

package termline

import (
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Keys reads what is typed on a terminal, until End is called.
//
// A blocked read of a terminal cannot be interrupted, and would take a line from the next reader. So
// Keys reads only when input is ready.
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

// End makes current and future calls of Read return. It may be called at any time, and twice.
func (k *Keys) End() { k.stop.Close() }

// Close frees the resources of Read. The terminal stays open.
func (k *Keys) Close() {
	k.stop.Close()
	k.wake.Close()
}

// wait blocks until input is ready. It reports false after End.
func (k *Keys) wait() bool {
	fds := []unix.PollFd{{Fd: int32(k.wake.Fd()), Events: unix.POLLIN}, {Fd: int32(k.from.Fd()), Events: unix.POLLIN}}
	for {
		if _, err := unix.Poll(fds, -1); err == unix.EINTR {
			continue
		}
		// After an error, or on a terminal that poll(2) does not support, Read fails or blocks.
		return fds[0].Revents == 0
	}
}

// pause blocks for d. It reports false as soon as End has been called.
func (k *Keys) pause(d time.Duration) bool {
	fds := []unix.PollFd{{Fd: int32(k.wake.Fd()), Events: unix.POLLIN}}
	_, _ = unix.Poll(fds, int(d.Milliseconds())) // a signal ends the pause early, which does no harm
	return fds[0].Revents == 0
}

// enterPause is how long OnEnter waits before it looks again at input for another reader.
const enterPause = 200 * time.Millisecond

// OnEnter calls report whenever the user types a line on terminal, until stop is called. It leaves
// input to others while the screen asks or has lent the terminal, while another program is in the
// foreground, and while one, such as a pager, reads single keys.
func (s *Screen) OnEnter(terminal *os.File, report func()) (stop func()) {
	keys, err := NewKeys(terminal)
	if err != nil {
		return func() {} // without free file descriptors, the signals still work
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

// takeLine reads a typed line, if there is one and no other reader. An error means that the terminal
// is gone.
//
// The lock prevents a second reader beside Ask: between the poll and the read, Ask could take the
// line, and the read here would block, take the next answer, and keep OnEnter's stop waiting.
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
	line := make([]byte, 4096) // the longest line of a terminal
	n, err := terminal.Read(line)
	return n > 0, err
}

// answerMode sets the terminal to line mode, whatever mode it was in, with or without echo.
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
