//go:build !unix

package main

import (
	"os"

	"golang.org/x/crypto/ssh"
)

// keys reads what is typed.
type keys struct{ from *os.File }

func newKeys(t *terminal) (*keys, error) { return &keys{t.in}, nil }

// Read implements [io.Reader]. One that is under way in the end stays until the
// process ends.
func (k *keys) Read(p []byte) (int, error) { return k.from.Read(p) }

func (k *keys) end() {}

func (k *keys) close() {}

// resized never says anything: there is no signal for it.
func resized() (changes <-chan os.Signal, end func()) { return nil, func() {} }

// modes leaves them to the host.
func (t *terminal) modes() ssh.TerminalModes { return nil }
