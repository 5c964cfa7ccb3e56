//go:build !unix

package tty

import (
	"os"

	"golang.org/x/crypto/ssh"
)

// resized returns a channel that never receives: this system has no signal for it.
func resized() (changes <-chan os.Signal, end func()) { return nil, func() {} }

// Modes returns nil: the host decides.
func (t *Terminal) Modes() ssh.TerminalModes { return nil }
