//go:build unix && !linux

package transport

import (
	"errors"
	"os"
)

// canLend says that a program can be brought to the foreground of a terminal. Only on
// Linux can a Go program take the terminal back: it must block SIGTTOU.
const canLend = false

func foreground(*os.File) (int, error)  { return 0, errors.ErrUnsupported }
func setForeground(*os.File, int) error { return errors.ErrUnsupported }
