//go:build !unix

package localshell

import "os/exec"

// killGroup does nothing: the context kills only the shell.
func killGroup(*exec.Cmd) {}
