package login

import (
	"testing"

	"fleetssh"
	"fleetssh/internal/fleettest"
	"fleetssh/internal/sshdtest"
)

// BindAddress sets the source of a connection: an address, a network interface or a host name.
func TestSSHDBindAddress(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	_, host := fleettest.StartSSHD(t, sshdtest.Options{})
	for from, want := range map[string]string{"": "127.0.0.1\n", "127.0.0.9": "127.0.0.9\n", "lo": "127.0.0.1\n", "localhost": "127.0.0.1\n"} {
		host.BindAddress = from
		fleettest.Equal(t, "from "+from, fleettest.Output(t, fleettest.Dial(t, host), "echo ${SSH_CONNECTION%% *}"), want)
	}
	host.Attempts = 1
	for from, want := range map[string]string{
		"192.0.2.1": "cannot assign requested address", "::1": "no address of this family", "no-such-name.invalid": "BindAddress",
	} {
		host.BindAddress = from
		_, err := fleetssh.Dial(fleettest.Soon(t), host)
		if err == nil {
			t.Errorf("%s: connected", from)
			continue
		}
		fleettest.Contains(t, err.Error(), want)
	}
}
