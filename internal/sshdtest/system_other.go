//go:build !unix

package sshdtest

import (
	"errors"
	"os"
	"syscall"
)

// Other systems have no sshd for tests, so a test that starts one fails. This file lets the package
// compile, for the tests that need no sshd.

const (
	pauseSignal  = syscall.SIGKILL
	resumeSignal = syscall.SIGKILL
)

func lockShared(*os.File) error { return errors.ErrUnsupported }

func lockExclusive(*os.File) error { return errors.ErrUnsupported }

func ownSession() *syscall.SysProcAttr { return nil }

func kill(pid int, _ syscall.Signal) {
	if p, err := os.FindProcess(pid); err == nil {
		_ = p.Kill() // it fails only if the process has ended already
	}
}
