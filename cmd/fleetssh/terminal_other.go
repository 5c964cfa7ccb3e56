//go:build !unix

package main

import (
	"os"

	"golang.org/x/crypto/ssh"
)

// resized never says anything: there is no signal for it.
func resized() (changes <-chan os.Signal, end func()) { return nil, func() {} }

// modes leaves them to the host.
func (t *terminal) modes() ssh.TerminalModes { return nil }
