//go:build unix

package tunnel

import (
	"path/filepath"
	"strings"
	"testing"

	"fleetssh"
	"fleetssh/internal/fleettest"
	"fleetssh/internal/sshdtest"
)

// ForwardLocal and DialContext work over the connection of an OpenSSH master. ForwardRemote does
// not, and reports that.
func TestSSHDMasterTunnels(t *testing.T) {
	sshdtest.CheckLeaks(t)
	s := sshdtest.Start(t, sshdtest.Options{})
	key := sshdtest.NewKey(t, sshdtest.KindED25519)
	user := sshdtest.CurrentUser(t)
	s.Authorize(t, user, key.Public())
	host := fleettest.HostConfig(t, s, user, fleetssh.Auth{})
	host.ControlPath = filepath.Join(sshdtest.SharedDir(t), "master")
	fleettest.StartMaster(t, s, host.ControlPath, key)
	c := fleettest.Dial(t, host)
	service := fleettest.Answering(t, "tcp", fleettest.Summing)
	local, err := c.ForwardLocal(fleettest.Soon(t), "0", service)
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.ForwardRemote(fleettest.Soon(t), "0", service)
	if e := fleettest.AsError[*fleetssh.SessionError](t, err); e.Phase != "listen" || !strings.Contains(err.Error(), "OpenSSH master") {
		t.Error(err)
	}
	for range 3 {
		fleettest.Works(t, local)
	}
	conn, err := c.DialContext(fleettest.Soon(t), "tcp", service)
	if err != nil {
		t.Fatal(err)
	}
	if answer, err := fleettest.Say(conn, "hello"); err != nil || answer != "got hello" {
		t.Errorf("%q, %v", answer, err)
	}
	fleettest.CloseTunnel(t, local)
}
