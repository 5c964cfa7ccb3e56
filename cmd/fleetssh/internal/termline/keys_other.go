//go:build !unix

package termline

import (
	"errors"
	"os"
)

// Keys reads what is typed.
type Keys struct{ from *os.File }

// NewKeys returns a reader of a terminal.
func NewKeys(from *os.File) (*Keys, error) { return &Keys{from}, nil }

// Read implements [io.Reader].
func (k *Keys) Read(p []byte) (int, error) { return k.from.Read(p) }

// End does nothing: a Read cannot be ended here. The process is about to end.
func (k *Keys) End() {}

// Close does nothing.
func (k *Keys) Close() {}

// OnEnter does nothing: waiting for input cannot be ended here.
func (s *Screen) OnEnter(*os.File, func()) (stop func()) { return func() {} }

func answerMode(*os.File, bool) error { return errors.ErrUnsupported }
