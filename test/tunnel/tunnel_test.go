package tunnel

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"fleetssh"
	"fleetssh/internal/fleettest"
	"fleetssh/internal/sshdtest"
)

// TCP and Unix addresses work for listeners and targets on both sides, and each direction ends
// independently.
func TestSSHDTunnelAddresses(t *testing.T) {
	sshdtest.CheckLeaks(t)
	_, host := fleettest.StartSSHD(t, sshdtest.Options{Config: []string{"StreamLocalBindUnlink yes"}})
	c := fleettest.Dial(t, host)
	dir := sshdtest.SharedDir(t)
	for _, test := range []struct{ listen, target string }{
		{"tcp", "tcp"}, {"tcp", "unix"}, {"unix", "tcp"}, {"unix", "unix"},
	} {
		target := fleettest.Answering(t, test.target, fleettest.Summing)
		for name, forward := range map[string]func(context.Context, string, string) (*fleetssh.Tunnel, error){
			"local": c.ForwardLocal, "remote": c.ForwardRemote,
		} {
			listen := "0"
			if test.listen == "unix" {
				listen = filepath.Join(dir, name+test.target)
			}
			tunnel, err := forward(fleettest.Soon(t), listen, target)
			if err != nil {
				t.Fatalf("%s %s to %s: %v", name, test.listen, test.target, err)
			}
			for range 3 {
				fleettest.Works(t, tunnel)
			}
			if name == "local" && test.listen == "unix" {
				if info, err := os.Stat(listen); err != nil || info.Mode().Perm() != 0o600 {
					t.Errorf("%v, %v", info.Mode(), err)
				}
			}
			fleettest.CloseTunnel(t, tunnel)
			if _, err := os.Lstat(listen); name == "local" && err == nil {
				t.Error("the socket file is not removed")
			}
		}
	}
}

// DialContext works with TCP and Unix addresses, and its errors give the reason.
func TestSSHDDialContext(t *testing.T) {
	sshdtest.CheckLeaks(t)
	_, host := fleettest.StartSSHD(t, sshdtest.Options{})
	c := fleettest.Dial(t, host)
	for _, network := range []string{"tcp", "unix"} {
		address := fleettest.Answering(t, network, fleettest.Summing)
		conn, err := c.DialContext(fleettest.Soon(t), network, address)
		if err != nil {
			t.Fatal(err)
		}
		if a := conn.RemoteAddr(); a.Network() != network || a.String() != address {
			t.Errorf("remote address %v", a)
		}
		if answer, err := fleettest.Say(conn, "hello"); err != nil || answer != "got hello" {
			t.Errorf("%q, %v", answer, err)
		}
	}
	closed := fmt.Sprint("127.0.0.1:", fleettest.ClosedPort(t))
	_, err := c.DialContext(fleettest.Soon(t), "tcp", closed)
	if e := fleettest.AsError[*fleetssh.SessionError](t, err); e.Phase != "forward" || !strings.Contains(err.Error(), closed+": Connection refused") {
		t.Errorf("%+v", e)
	}
	for _, address := range []string{"", "web1", ":0", "a b:1", "x:70000"} {
		_, err := c.DialContext(fleettest.Soon(t), "tcp", address)
		fleettest.AsError[*fleetssh.ConfigError](t, err)
	}
	if _, err := c.DialContext(fleettest.Soon(t), "udp", "localhost:53"); err == nil {
		t.Error("DialContext accepts udp")
	}
}
