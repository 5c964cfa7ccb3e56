// Package account knows who runs the program. It is the one place that says where the
// files of ~/.ssh are.
//
// As for ssh, that is what the system's list of users (passwd) says, whatever HOME and
// USER are: a configuration, the keys it names and the host keys beside them belong to
// one account. A user without an entry, as in many containers, is who the environment
// says.
package account

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"sync/atomic"
)

// A User is the user who runs the program. What is not known is empty.
type User struct {
	Name string // to log in as, without the domain that Windows puts before it
	Home string // the directory that has .ssh
	UID  string
}

// ErrNoEntry is for what neither the system's list of users nor the environment knows.
var ErrNoEntry = errors.New("the system's list of users has no entry for the current user")

// pretended is what tests have put in the place of [Current].
var pretended atomic.Pointer[func() User]

// Pretend lets Current return what find does. It is for tests, which must not read the
// files of whoever runs them.
func Pretend(find func() User) { pretended.Store(&find) }

// Current returns the user. The system is asked once.
func Current() User {
	if find := pretended.Load(); find != nil {
		return (*find)()
	}
	return Real()
}

// Real is [Current] without what tests pretend.
func Real() User {
	u, err := user.Current()
	if err != nil {
		return fromEnvironment()
	}
	return User{Name: withoutDomain(u.Username), Home: u.HomeDir, UID: u.Uid}
}

func fromEnvironment() User {
	u := User{Name: os.Getenv("USER"), Home: os.Getenv("HOME"), UID: fmt.Sprint(os.Getuid())}
	if u.Name == "" {
		u.Name = os.Getenv("LOGNAME")
	}
	return u
}

// withoutDomain returns the name of DOMAIN\name.
func withoutDomain(name string) string { return name[strings.LastIndexByte(name, '\\')+1:] }

// Name returns the user's name.
func Name() (string, error) {
	if u := Current(); u.Name != "" {
		return u.Name, nil
	}
	return "", fmt.Errorf("%w (uid %d), and USER is not set", ErrNoEntry, os.Getuid())
}

// Home returns the directory that has .ssh.
func Home() (string, error) {
	if u := Current(); u.Home != "" {
		return u.Home, nil
	}
	return "", fmt.Errorf("home directory: %w (uid %d), and HOME is not set", ErrNoEntry, os.Getuid())
}

// Expand replaces a leading "~/" of a path, if the home directory is known.
func Expand(path string) string {
	if rest, ok := strings.CutPrefix(path, "~/"); ok {
		if home, err := Home(); err == nil {
			return filepath.Join(home, rest)
		}
	}
	return path
}
