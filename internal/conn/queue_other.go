//go:build !linux

package conn

// socketQueue is for Linux, which wakes up writers late. Elsewhere a write of a packet,
// which is 32 KiB at most, has to be done in its time.
func socketQueue(int) int { return 0 }
