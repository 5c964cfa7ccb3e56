//go:build unix && !aix && !solaris

package knownhosts

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// lock locks the file. It returns errLocked if another process has the lock.
func lock(f *os.File) error {
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case errors.Is(err, unix.EWOULDBLOCK):
			return errLocked
		case !errors.Is(err, unix.EINTR):
			return err
		}
	}
}
