//go:build unix

package fleetssh_test

import (
	"path/filepath"
	"strings"
	"testing"

	"fleetssh"
	"fleetssh/internal/sshdtest"
)

// Tunnels to somewhere behind a host go over the connection of an OpenSSH master as well;
// those from there cannot, and say so.
func TestSSHDMasterTunnels(t *testing.T) {
	sshdtest.CheckLeaks(t)
	s := sshdtest.Start(t, sshdtest.Options{})
	key := sshdtest.NewKey(t, sshdtest.KindED25519)
	user := sshdtest.CurrentUser(t)
	s.Authorize(t, user, key.Public())
	host := hostConfig(t, s, user, fleetssh.Auth{})
	host.ControlPath = filepath.Join(sshdtest.SharedDir(t), "master")
	startMaster(t, s, host.ControlPath, key)
	c := dial(t, host)
	service := answering(t, "tcp", summing)
	local, err := c.ForwardLocal(soon(t), "0", service)
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.ForwardRemote(soon(t), "0", service)
	if e := asError[*fleetssh.SessionError](t, err); e.Op != "listen" || !strings.Contains(err.Error(), "OpenSSH master") {
		t.Error(err)
	}
	for range 3 {
		works(t, local)
	}
	conn, err := c.DialContext(soon(t), "tcp", service)
	if err != nil {
		t.Fatal(err)
	}
	if answer, err := say(conn, "hello"); err != nil || answer != "got hello" {
		t.Errorf("%q, %v", answer, err)
	}
	closeTunnel(t, local)
}
