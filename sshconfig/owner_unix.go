//go:build unix

package sshconfig

import (
	"errors"
	"os"
	"os/user"
	"strconv"
	"syscall"
)

// checkOwner refuses a user's file that others may have written: it can name
// commands to run. A group may write to it if it is the user's own and bears the
// user's name, as Debian's ssh allows.
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
		return errors.New("it belongs to another user")
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
