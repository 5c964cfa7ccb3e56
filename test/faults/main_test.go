// Package faults lets hosts stop reading, in every phase and in every way that simfleet
// knows, and calls every entry point of the library against each of them. It is a package
// of its own so that it runs beside the other tests of the library: it waits most of the time.
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

// goroutines returns those of the library and of the SSH library.
func goroutines() []string {
	var left []string
	var stacks strings.Builder
	pprof.Lookup("goroutine").WriteTo(&stacks, 1)
	for _, stack := range strings.Split(stacks.String(), "\n\n") {
		ours := strings.Contains(stack, "fleetssh") && !strings.Contains(stack, "faults.TestMain") && !strings.Contains(stack, "faults.goroutines") &&
			!strings.Contains(stack, "faults.echo") && !strings.Contains(stack, "faults.silentAgent")
		if ours || strings.Contains(stack, "golang.org/x/crypto/ssh") {
			left = append(left, stack)
		}
	}
	return left
}

// leakOfLibrary reports whether goroutines are those that the SSH library leaves behind,
// as ADR 2 says: a host has made its mux end with an error, and more packets
// were on the way than it keeps.
func leakOfLibrary(stack string) bool {
	for _, frame := range []string{"(*handshakeTransport).readLoop", "(*handshakeTransport).kexLoop", "(*handshakeTransport).Close", "(*mux).Wait"} {
		if strings.Contains(stack, frame) {
			return true
		}
	}
	return false
}
