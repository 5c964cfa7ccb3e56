//go:build !(darwin || dragonfly || freebsd || netbsd || openbsd)

package main

import (
	"os"
	"syscall"
)

// statusSignals ask for the outstanding hosts.
var statusSignals = []os.Signal{syscall.SIGQUIT}
