package main

import "golang.org/x/sys/unix"

const (
	getTermios  = unix.TCGETS2 // with the speeds in bits per second
	noCharacter = 0            // _POSIX_VDISABLE
	inputUTF8   = unix.IUTF8
)
