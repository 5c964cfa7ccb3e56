// Package account knows which user runs the program. It is the only place that decides where
// ~/.ssh is.
//
// As ssh does, it asks the system's user database (passwd), whatever HOME and USER are: a
// configuration, the keys it names and the host keys beside them belong to one account. For a
// user without an entry, as in many containers, the environment counts.
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

// A User is the user who runs the program. Unknown fields are empty.
type User struct {
	Name string // without the domain that Windows puts before it
	Home string // the directory that contains .ssh
	UID  string
}

// ErrNoEntry means that neither the user database nor the environment has the wanted field.
var ErrNoEntry = errors.New("the user database has no entry for the current user")

// fake replaces Real in tests.
var fake atomic.Pointer[func() User]

// Fake makes Current return what find returns. Tests use it, because they must not read the
// files of the user who runs them.
func Fake(find func() User) { fake.Store(&find) }

// Current returns the user.
func Current() User {
	if find := fake.Load(); find != nil {
		return (*find)()
	}
	return Real()
}

// Real is [Current] without [Fake].
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

// withoutDomain returns name for DOMAIN\name.
func withoutDomain(name string) string { return name[strings.LastIndexByte(name, '\\')+1:] }

// Name returns the user's name. The error is [ErrNoEntry] if it is not known.
func Name() (string, error) {
	if u := Current(); u.Name != "" {
		return u.Name, nil
	}
	return "", fmt.Errorf("%w (uid %d), and USER is not set", ErrNoEntry, os.Getuid())
}

// Home returns the directory that contains .ssh. The error is [ErrNoEntry] if it is not known.
func Home() (string, error) {
	if u := Current(); u.Home != "" {
		return u.Home, nil
	}
	return "", fmt.Errorf("home directory: %w (uid %d), and HOME is not set", ErrNoEntry, os.Getuid())
}

// Expand replaces the leading "~/" of a path, if the home directory is known.
func Expand(path string) string {
	if rest, ok := strings.CutPrefix(path, "~/"); ok {
		if home, err := Home(); err == nil {
			return filepath.Join(home, rest)
		}
	}
	return path
}
