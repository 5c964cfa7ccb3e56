// Package session tests commands, shells and scripts on a connection: their input and output,
// sudo, stopping, and several users of one connection. The hosts are simulated or, in the
// files sshd_*_test.go, OpenSSH.
package session

import (
	"testing"

	"fleetssh/internal/fleettest"
)

func TestMain(m *testing.M) { fleettest.Main(m) }
