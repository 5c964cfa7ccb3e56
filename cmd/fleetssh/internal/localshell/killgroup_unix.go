//go:build unix

package localshell

import (
	"os/exec"
	"syscall"
)

// killGroup makes the context of a command kill everything that it has started.
func killGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}
