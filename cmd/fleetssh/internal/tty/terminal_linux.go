package tty

import "golang.org/x/sys/unix"

const (
	getTermios  = unix.TCGETS // without speeds on most machines
	noCharacter = 0           // _POSIX_VDISABLE
	inputUTF8   = unix.IUTF8
)
