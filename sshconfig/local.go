package sshconfig

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/user"
	"path/filepath"
	"runtime"
	"strings"

	"fleetssh/internal/account"
)

// local is what is known about this machine and the user.
type local struct {
	user, home, uid string // as the system's list of users has them; empty if it does not
	name, shortName string // of the machine
	systemDir       string // where ssh_config is
}

// newLocal asks the system. A user without a name or a home directory is an error only
// where they are needed.
func newLocal() (*local, error) {
	name, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("name of this machine: %w", err)
	}
	short, _, _ := strings.Cut(name, ".")
	u := account.Current()
	l := &local{user: u.Name, home: u.Home, uid: u.UID, name: name, shortName: short, systemDir: "/etc/ssh"}
	if runtime.GOOS == "windows" {
		l.systemDir = filepath.Join(os.Getenv("ProgramData"), "ssh")
	}
	return l, nil
}

// userConfig returns the path of the user's file, empty for a user without a home
// directory.
func (l *local) userConfig() string {
	if l.home == "" {
		return ""
	}
	return filepath.Join(l.home, ".ssh", "config")
}

func (l *local) systemConfig() string { return filepath.Join(l.systemDir, "ssh_config") }

// expandTilde replaces a leading "~" or "~user".
func (l *local) expandTilde(path string) (string, error) {
	after, found := strings.CutPrefix(path, "~")
	if !found {
		return path, nil
	}
	name, below, _ := strings.Cut(after, "/")
	home := l.home
	if name == "" && home == "" {
		return "", fmt.Errorf("%q: %w", path, account.ErrNoEntry)
	}
	if name != "" {
		u, err := user.Lookup(name)
		if err != nil {
			return "", fmt.Errorf("%q: %w", path, err)
		}
		home = u.HomeDir
	}
	return home + "/" + strings.TrimLeft(below, "/"), nil
}

// includePath returns the pattern that an Include stands for. A relative one is in
// ~/.ssh in a user's file and in /etc/ssh in the system's. "~" is $HOME here, if it
// is set, and not what the list of users says: ssh has its file names expanded so.
func (l *local) includePath(path string, ofUser bool) (string, error) {
	switch {
	case strings.HasPrefix(path, "~") && !ofUser:
		return "", fmt.Errorf("%q: there is no home directory in the system's file", path)
	case path == "~" || strings.HasPrefix(path, "~/"):
		if home := os.Getenv("HOME"); home != "" {
			return home + path[1:], nil
		}
		return l.expandTilde(path)
	case strings.HasPrefix(path, "~"):
		expanded, err := l.expandTilde(path)
		if err != nil {
			return path, nil // a file of this name, then
		}
		return expanded, nil
	case filepath.IsAbs(path):
		return path, nil
	case ofUser && l.home == "":
		return "", fmt.Errorf("%q: %w", path, account.ErrNoEntry)
	case ofUser:
		return filepath.Join(l.home, ".ssh", path), nil
	}
	return filepath.Join(l.systemDir, path), nil
}

// addresses returns those of the network interfaces that are up.
func addresses() ([]netip.Addr, error) {
	interfaces, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	var list []netip.Addr
	for _, i := range interfaces {
		if i.Flags&net.FlagUp == 0 {
			continue
		}
		networks, err := i.Addrs()
		if err != nil {
			continue // it has gone meanwhile
		}
		for _, n := range networks {
			if prefix, err := netip.ParsePrefix(n.String()); err == nil {
				list = append(list, prefix.Addr())
			}
		}
	}
	return list, nil
}
