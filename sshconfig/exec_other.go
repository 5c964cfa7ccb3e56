//go:build !unix

package sshconfig

import "os/exec"

// endTogether does nothing: there are no groups of processes.
func endTogether(*exec.Cmd) {}
