//go:build !(darwin || dragonfly || freebsd || netbsd || openbsd)

package main

import (
	"os"
	"syscall"
)

// statusSignals ask who is outstanding.
var statusSignals = []os.Signal{syscall.SIGQUIT}
