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

// lockShared and lockAlone wait for the lock of a file. It ends with the process.
func lockShared(file *os.File) error { return syscall.Flock(int(file.Fd()), syscall.LOCK_SH) }

func lockAlone(file *os.File) error { return syscall.Flock(int(file.Fd()), syscall.LOCK_EX) }

// ownSession starts a process that Ctrl-C does not reach.
func ownSession() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }

func kill(pid int, sig syscall.Signal) { _ = syscall.Kill(pid, sig) } // it may have ended
