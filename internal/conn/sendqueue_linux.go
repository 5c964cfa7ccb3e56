package conn

import "golang.org/x/sys/unix"

// sendQueue returns how many bytes a socket holds that the other side has not acknowledged.
func sendQueue(fd int) int {
	n, err := unix.IoctlGetInt(fd, unix.SIOCOUTQ)
	if err != nil {
		return 0
	}
	return n
}
