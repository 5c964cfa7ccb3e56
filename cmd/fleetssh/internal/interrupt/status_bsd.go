//go:build darwin || dragonfly || freebsd || netbsd || openbsd

package interrupt

import (
	"os"
	"syscall"
)

// StatusSignals ask for the outstanding hosts.
var StatusSignals = []os.Signal{syscall.SIGQUIT, syscall.SIGINFO}
