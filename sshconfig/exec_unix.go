//go:build unix

package sshconfig

import (
	"os/exec"
	"syscall"
)

// endTogether lets what a command has started end with it, when its time is up.
func endTogether(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}
