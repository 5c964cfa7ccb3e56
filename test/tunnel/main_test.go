// Package tunnel tests tunnels and proxies with simulated hosts, with hosts that break the
// protocol, and, in the files sshd_*_test.go, with OpenSSH.
package tunnel

import (
	"testing"

	"fleetssh/internal/fleettest"
)

func TestMain(m *testing.M) { fleettest.Main(m) }
