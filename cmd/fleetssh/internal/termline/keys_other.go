//go:build !unix

package termline

import (
	"errors"
	"os"
)

// Keys reads what is typed on a terminal.
type Keys struct{ from *os.File }

// NewKeys returns a reader of a terminal.
func NewKeys(from *os.File) (*Keys, error) { return &Keys{from}, nil }

// Read implements [io.Reader].
func (k *Keys) Read(p []byte) (int, error) { return k.from.Read(p) }

// End does nothing: this system cannot interrupt a Read. The process is about to end.
func (k *Keys) End() {}

// Close does nothing.
func (k *Keys) Close() {}

// OnEnter does nothing: this system cannot interrupt waiting for input.
func (s *Screen) OnEnter(*os.File, func()) (stop func()) { return func() {} }

func answerMode(*os.File, bool) error { return errors.ErrUnsupported }
