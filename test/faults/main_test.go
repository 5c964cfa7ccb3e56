// Package faults tests every entry point of the library against hosts that stop reading, in every
// phase and in every way that simfleet supports. It is a separate package so that it runs in
// parallel with the other tests of the library: it waits most of the time.
package faults

import (
	"os"
	"runtime/pprof"
	"strings"
	"testing"

	"fleetssh/internal/fleettest"
)

func TestMain(m *testing.M) {
	os.Unsetenv("SSH_AUTH_SOCK")
	fleettest.Main(m, leakOfLibrary)
}

// goroutines returns the stacks of the library's and x/crypto's goroutines.
func goroutines() []string {
	var left []string
	var stacks strings.Builder
	pprof.Lookup("goroutine").WriteTo(&stacks, 1)
	for _, stack := range strings.Split(stacks.String(), "\n\n") {
		ours := strings.Contains(stack, fleettest.Module) && !strings.Contains(stack, "faults.TestMain") && !strings.Contains(stack, "faults.goroutines") &&
			!strings.Contains(stack, "faults.echo") && !strings.Contains(stack, "faults.silentAgent")
		if ours || strings.Contains(stack, "golang.org/x/crypto/ssh") {
			left = append(left, stack)
		}
	}
	return left
}

// leakOfLibrary reports whether x/crypto has leaked a goroutine: this happens when a host makes its
// mux end with an error, and more packets are pending than its channel buffers (ADR 2).
func leakOfLibrary(stack string) bool {
	for _, frame := range []string{"(*handshakeTransport).readLoop", "(*handshakeTransport).kexLoop", "(*handshakeTransport).Close", "(*mux).Wait"} {
		if strings.Contains(stack, frame) {
			return true
		}
	}
	return false
}
