// Package copy tests copies with simulated hosts and, in the files sshd_*_test.go, with OpenSSH.
package copy

import (
	"testing"

	"fleetssh/internal/fleettest"
)

func TestMain(m *testing.M) { fleettest.Main(m) }
