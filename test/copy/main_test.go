// Package copy tests copies with simulated hosts and, in the files sshd_*_test.go, with
// OpenSSH. It is a package of its own so that it runs beside the other tests of the library.
package copy

import (
	"testing"

	"fleetssh/internal/fleettest"
)

func TestMain(m *testing.M) { fleettest.Main(m) }
