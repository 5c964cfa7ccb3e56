//go:build unix && !linux

package transport

import (
	"errors"
	"os"
)

// canLend says whether the terminal can be lent to a program. It is true only on Linux: to take the
// terminal back, a thread must block SIGTTOU, which Go programs can do only there.
const canLend = false

func foreground(*os.File) (int, error)  { return 0, errors.ErrUnsupported }
func setForeground(*os.File, int) error { return errors.ErrUnsupported }
