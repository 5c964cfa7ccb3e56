// Package login tests everything before the first command: reaching a host directly, behind
// hops and through proxies, host keys, authentication, agents and agent forwarding, and shared
// connections. The hosts are simulated or, in the files sshd_*_test.go, OpenSSH, with a KDC
// where Kerberos needs one.
package login

import (
	"testing"

	"fleetssh/internal/fleettest"
)

func TestMain(m *testing.M) { fleettest.Main(m) }
