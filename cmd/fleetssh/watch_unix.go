//go:build unix

package main

import (
	"os"

	"golang.org/x/sys/unix"
)

// enterTick is how often it is looked for input, in milliseconds.
const enterTick = 200

// onEnter calls report whenever a line has been typed, until over is closed. What is typed
// while held reports true is for somebody else, and so is what a shell in the foreground reads.
func onEnter(in *os.File, over <-chan struct{}, held func() bool, report func()) {
	fd := int(in.Fd())
	buf := make([]byte, 4096)
	for {
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(fds, enterTick)
		select {
		case <-over:
			return
		default:
		}
		if err == unix.EINTR || err == nil && n == 0 {
			continue
		}
		if err != nil || fds[0].Revents&unix.POLLIN == 0 {
			return // the terminal is gone
		}
		if group, err := unix.IoctlGetInt(fd, unix.TIOCGPGRP); held() || err != nil || group != unix.Getpgrp() {
			pause := []unix.PollFd{}
			_, _ = unix.Poll(pause, enterTick) // what waits to be read is not ours: look again later
			continue
		}
		k, err := unix.Read(fd, buf)
		if k == 0 && err == nil || err != nil && err != unix.EINTR && err != unix.EAGAIN {
			return // the end of input, or none that may be read
		}
		if k > 0 {
			report()
		}
	}
}
