//go:build darwin || dragonfly || freebsd || netbsd || openbsd

package tty

import "golang.org/x/sys/unix"

const (
	getTermios  = unix.TIOCGETA
	noCharacter = 0xff // _POSIX_VDISABLE
	inputUTF8   = 0    // RFC 8160; not on all of these systems, and not essential
)
