//go:build unix

package selection

import "golang.org/x/sys/unix"

// inherited reports whether a descriptor was open when the program started: descriptors that the program
// opens itself are closed on exec. From now on, this one is, too, so that no local program gets it.
func inherited(n int) bool {
	flags, err := unix.FcntlInt(uintptr(n), unix.F_GETFD, 0)
	if err != nil || flags&unix.FD_CLOEXEC != 0 {
		return false
	}
	unix.CloseOnExec(n)
	return true
}
