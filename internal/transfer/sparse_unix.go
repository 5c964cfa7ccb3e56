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

// suspectSize reports whether the size of a file may be wrong, as it is for files that the kernel
// generates when they are read. They occupy no blocks, and no more than a page is claimed.
func suspectSize(info os.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	return info.Size() == 0 || ok && stat.Blocks == 0 && info.Size() <= kernelPage
}

// openRegular opens a file for reading. It does not block if the file has become a FIFO.
func openRegular(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
}
