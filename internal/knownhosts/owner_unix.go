//go:build unix

package knownhosts

import (
	"os"
	"syscall"
)

// keepOwner gives a file the owner and the group of another. It ignores an error if the owner is
// right: a user may be unable to set the group. Root, who writes the file of a user, must not
// take it away.
func keepOwner(f *os.File, like os.FileInfo) error {
	want, ok := like.Sys().(*syscall.Stat_t)
	if !ok {
		return nil
	}
	err := f.Chown(int(want.Uid), int(want.Gid))
	if err != nil && int(want.Uid) == os.Geteuid() {
		return nil
	}
	return err
}
