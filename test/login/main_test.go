// Package login tests all that comes before the first command: reaching a host, directly,
// behind hops and through proxies, its key, logging in, agents and what they do afterwards,
// and connections that are shared. The hosts are simulated or, in the files sshd_*_test.go,
// OpenSSH, with a KDC where Kerberos needs one.
package login

import (
	"testing"

	"fleetssh/internal/fleettest"
)

func TestMain(m *testing.M) { fleettest.Main(m) }
