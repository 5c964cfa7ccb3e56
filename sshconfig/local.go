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

// local describes this machine and the user.
type local struct {
	user, home, uid string // in the system's user database; empty if they are not there
	name, shortName string // of the machine
	systemDir       string // the folder of ssh_config
}

// newLocal returns the description of this machine. A missing user name or home directory is an
// error only where it is needed.
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

// userConfig returns the path of the user's file, empty if the user has no home directory.
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

// includePath returns the pattern of an Include. Relative patterns are relative to ~/.ssh in a
// user's file, and to /etc/ssh in the system's. As in ssh, which uses glob(3), "~" is $HOME if
// that is set, and not the home directory in the user database.
func (l *local) includePath(path string, ofUser bool) (string, error) {
	switch {
	case strings.HasPrefix(path, "~") && !ofUser:
		return "", fmt.Errorf("%q: \"~\" is not allowed in the system's file", path)
	case path == "~" || strings.HasPrefix(path, "~/"):
		if home := os.Getenv("HOME"); home != "" {
			return home + path[1:], nil
		}
		return l.expandTilde(path)
	case strings.HasPrefix(path, "~"):
		expanded, err := l.expandTilde(path)
		if err != nil {
			return path, nil // then it is the name of a file
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

// addresses returns the addresses of the network interfaces that are up.
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
			continue // the interface has been removed
		}
		for _, n := range networks {
			if prefix, err := netip.ParsePrefix(n.String()); err == nil {
				list = append(list, prefix.Addr())
			}
		}
	}
	return list, nil
}
