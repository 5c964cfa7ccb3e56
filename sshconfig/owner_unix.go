//go:build unix

package sshconfig

import (
	"errors"
	"os"
	"os/user"
	"strconv"
	"syscall"
)

// checkOwner refuses a user's file that others could have written, since the file can contain
// commands to run. As in Debian's ssh, the user's own group with the user's name may write to it.
func checkOwner(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return errors.ErrUnsupported
	}
	if stat.Uid != 0 && stat.Uid != uint32(os.Getuid()) {
		return errors.New("another user owns it")
	}
	mode := info.Mode().Perm()
	if mode&0o002 != 0 || mode&0o020 != 0 && !ownGroup(stat.Gid) {
		return errors.New("others may write to it")
	}
	return nil
}

func ownGroup(gid uint32) bool {
	id := strconv.FormatUint(uint64(gid), 10)
	u, err := user.Current()
	if err != nil || u.Gid != id {
		return false
	}
	g, err := user.LookupGroupId(id)
	return err == nil && g.Name == u.Username
}
