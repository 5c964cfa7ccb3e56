package gss

import (
	"context"
	"errors"
	"os"
	"regexp"
	"strings"
	"testing"
)

const testPassword = "correct horse"

// TestMain unsets the Kerberos environment of the user who runs the tests.
func TestMain(m *testing.M) {
	os.Unsetenv("KRB5CCNAME")
	os.Unsetenv("KRB5_CONFIG")
	os.Unsetenv("KRB5_CLIENT_KTNAME")
	os.Exit(m.Run())
}

// begin gets the first token for a host, and with it the tickets.
func begin(c *Credentials, host string) (*Context, error) {
	x := c.NewContext(context.Background(), false)
	_, _, err := x.InitSecContext("host@"+host, nil, false)
	return x, err
}

// wantError fails the test unless err is an *Error whose text is one line that matches the pattern.
func wantError(t testing.TB, err error, pattern string) {
	t.Helper()
	e := (*Error)(nil)
	if !errors.As(err, &e) {
		t.Errorf("error %v (%T), want an *Error like %s", err, err, pattern)
		return
	}
	if !regexp.MustCompile("^"+pattern+"$").MatchString(err.Error()) || strings.Contains(err.Error(), "\n") {
		t.Errorf("error %s\nwant  %s", err, pattern)
	}
}

func wantPrincipal(t testing.TB, o Options, want string) {
	t.Helper()
	if got, err := NewCredentials(o).Principal(t.Context()); err != nil || got != want {
		t.Errorf("principal %q, %v, want %q", got, err, want)
	}
}

// wantTicket gets a ticket for localhost, for which it needs a usable TGT.
func wantTicket(t testing.TB, o Options) {
	t.Helper()
	x := NewCredentials(o).NewContext(t.Context(), false)
	if _, _, err := x.InitSecContext("host@localhost", nil, false); err != nil {
		t.Errorf("no ticket with %v: %v", o, err)
	}
}
