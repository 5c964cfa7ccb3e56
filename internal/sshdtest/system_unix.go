//go:build unix

package sshdtest

import (
	"os"
	"syscall"
)

const (
	pauseSignal  = syscall.SIGSTOP
	resumeSignal = syscall.SIGCONT
)

// lockShared and lockExclusive wait for a shared or exclusive lock on a file. The lock lasts until
// all descriptors of the open file are closed.
func lockShared(file *os.File) error { return syscall.Flock(int(file.Fd()), syscall.LOCK_SH) }

func lockExclusive(file *os.File) error { return syscall.Flock(int(file.Fd()), syscall.LOCK_EX) }

// ownSession starts a process in a new session, so that Ctrl-C does not reach it.
func ownSession() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }

// kill ignores the error: the process may have ended already.
func kill(pid int, sig syscall.Signal) { _ = syscall.Kill(pid, sig) }
