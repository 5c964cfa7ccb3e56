//go:build !unix

package sshdtest

import (
	"errors"
	"os"
	"syscall"
)

// Elsewhere there is no sshd to test with: a test that asks for one fails and says so. What
// follows lets the tests that need none be built.

const (
	pauseSignal  = syscall.SIGKILL
	resumeSignal = syscall.SIGKILL
)

func lockShared(*os.File) error { return errors.ErrUnsupported }

func lockAlone(*os.File) error { return errors.ErrUnsupported }

func ownSession() *syscall.SysProcAttr { return nil }

func kill(pid int, _ syscall.Signal) {
	if p, err := os.FindProcess(pid); err == nil {
		_ = p.Kill() // it may have ended
	}
}
