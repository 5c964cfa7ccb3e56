//go:build darwin || dragonfly || freebsd || netbsd || openbsd

package termline

import "golang.org/x/sys/unix"

// Requests of ioctl(2): tcgetattr(3), and tcsetattr(3).
const (
	getMode = unix.TIOCGETA
	setMode = unix.TIOCSETA
)
