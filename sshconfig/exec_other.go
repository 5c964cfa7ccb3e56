//go:build !unix

package sshconfig

import "os/exec"

// killGroup does nothing: there are no process groups.
func killGroup(*exec.Cmd) {}
