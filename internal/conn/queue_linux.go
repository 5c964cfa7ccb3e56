package conn

import "golang.org/x/sys/unix"

// socketQueue returns how many bytes a socket holds that the other side has not taken.
func socketQueue(fd int) int {
	n, err := unix.IoctlGetInt(fd, unix.SIOCOUTQ)
	if err != nil {
		return 0
	}
	return n
}
