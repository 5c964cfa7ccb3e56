//go:build unix

package journal

import (
	"errors"
	"os"
	"syscall"
)

// lock waits for the lock of a run and takes it. Closing the file or ending the process frees it.
func lock(file *os.File) error { return flock(file, syscall.LOCK_EX) }

// tryLock takes the lock of a run if it is free: exclusively, or shared with other readers.
func tryLock(file *os.File, alone bool) (taken bool, err error) {
	how := syscall.LOCK_SH
	if alone {
		how = syscall.LOCK_EX
	}
	err = flock(file, how|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return false, nil
	}
	return err == nil, err
}

func flock(file *os.File, how int) error {
	for {
		if err := syscall.Flock(int(file.Fd()), how); err != syscall.EINTR {
			return err
		}
	}
}

func unlock(file *os.File) error { return flock(file, syscall.LOCK_UN) }
