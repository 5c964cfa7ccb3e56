package simfleet

import (
	"net"
	"testing"
	"time"
)

// A host that root reboots resets its connections, and comes back with another boot ID and its files.
func TestReboot(t *testing.T) {
	t.Parallel()
	s := start(t, Host{RebootTime: 50 * time.Millisecond})
	client := dial(t, s)
	before := s.BootID()
	if got := runLine(t, client, "cat /proc/sys/kernel/random/boot_id; echo kept >f", ""); got.stdout != before+"\n" {
		t.Errorf("%+v, want %s", got, before)
	}
	for _, line := range []string{"reboot", "systemctl reboot", "shutdown -r now", "sudo systemctl stop x"} {
		if got := runLine(t, client, line, ""); got.code != 1 {
			t.Errorf("%s: %+v", line, got)
		}
	}
	if got := runLine(t, client, "sudo shutdown -r now", ""); got.code != 0 {
		t.Errorf("%+v", got)
	}
	client.Wait() // until the host resets the connection
	eventually(t, "the host is back", func() bool { return s.Stats().Reboots == 1 })
	got := runLine(t, dial(t, s), "cat /proc/sys/kernel/random/boot_id; cat f", "")
	if after := s.BootID(); after == before || got.stdout != after+"\nkept\n" {
		t.Errorf("%+v, before %s, after %s", got, before, after)
	}
}

func TestRebootFaults(t *testing.T) {
	t.Parallel()
	s := start(t, Host{Fault: Fault{Kind: StayAway}, RebootTime: time.Millisecond})
	client := dial(t, s)
	if got := runLine(t, client, "sudo reboot", ""); got.code != 0 {
		t.Errorf("%+v", got)
	}
	client.Wait()
	eventually(t, "a connection is reset", func() bool {
		conn, err := net.Dial("tcp", s.Addr())
		if err == nil {
			conn.Close()
		}
		return s.Stats().TurnedAway > 0
	})
	other := start(t, Host{Fault: Fault{Kind: IgnoreReboot}, RebootTime: time.Millisecond})
	before := other.BootID()
	if got := runLine(t, dial(t, other), "sudo reboot", ""); got.code != 0 {
		t.Errorf("%+v", got)
	}
	if other.BootID() != before || other.Stats().Reboots != 0 {
		t.Error("the host has rebooted")
	}
}
