package fleetssh_test

import (
	"testing"

	"fleetssh/internal/fleettest"
)

func TestMain(m *testing.M) { fleettest.Main(m) }
