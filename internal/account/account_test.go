package account

import (
	"os/user"
	"testing"
)

// TestUserDatabase prefers the user database to the environment.
func TestUserDatabase(t *testing.T) {
	t.Setenv("HOME", t.TempDir())
	t.Setenv("USER", "somebody-else")
	t.Setenv("LOGNAME", "somebody-else")
	u, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	want := User{Name: withoutDomain(u.Username), Home: u.HomeDir, UID: u.Uid}
	if got := Current(); got != want {
		t.Errorf("%+v, not %+v", got, want)
	}
	if home, err := Home(); err != nil || home != want.Home {
		t.Errorf("home %q, %v", home, err)
	}
}

// TestUserWithoutEntry takes a user without an entry from the environment.
func TestUserWithoutEntry(t *testing.T) {
	t.Setenv("HOME", "/builds/home")
	t.Setenv("USER", "")
	t.Setenv("LOGNAME", "jenkins")
	if u := fromEnvironment(); u.Name != "jenkins" || u.Home != "/builds/home" || u.UID == "" {
		t.Errorf("%+v", u)
	}
	t.Setenv("USER", "ci")
	if u := fromEnvironment(); u.Name != "ci" {
		t.Errorf("%+v", u)
	}
	if got := withoutDomain(`CORP\alice`); got != "alice" {
		t.Errorf("%q", got)
	}
}

// TestUnknownUser expects an error where the name or the home directory is needed.
func TestUnknownUser(t *testing.T) {
	Fake(func() User { return User{UID: "4999"} })
	defer fake.Store(nil)
	for _, find := range []func() (string, error){Name, Home} {
		if got, err := find(); got != "" || err == nil {
			t.Errorf("%q, %v", got, err)
		}
	}
}
