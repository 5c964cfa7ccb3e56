package knownhosts

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

// lock locks the file. It returns errLocked if another process has the lock. Windows does not
// let others read locked bytes, so lock takes a byte beyond the end of any file.
func lock(f *os.File) error {
	err := windows.LockFileEx(windows.Handle(f.Fd()),
		windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY,
		0, 1, 0, &windows.Overlapped{OffsetHigh: 1 << 30})
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) {
		return errLocked
	}
	return err
}
