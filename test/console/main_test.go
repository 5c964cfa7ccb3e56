// Package console tests consoles, with simulated hosts and, in the files sshd_*_test.go, with
// OpenSSH.
package console

import (
	"testing"

	"fleetssh/internal/fleettest"
)

func TestMain(m *testing.M) { fleettest.Main(m) }
