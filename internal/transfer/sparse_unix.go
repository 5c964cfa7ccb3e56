//go:build unix

package transfer

import (
	"os"
	"syscall"
)

// isSparse reports whether a file has holes.
func isSparse(info os.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && int64(stat.Blocks)*512 < info.Size()
}

// suspectSize reports whether the size of a file may be none: it takes no place, and is no
// larger than what the kernel gives to a file that it writes when it is read.
func suspectSize(info os.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	return info.Size() == 0 || ok && stat.Blocks == 0 && info.Size() <= kernelPage
}

// openRegular opens a file for reading. One that has become a FIFO does not hold it up.
func openRegular(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
}
