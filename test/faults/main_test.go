// Package faults lets hosts stop reading, in every phase and in every way that simfleet
// knows, and calls every entry point of the library against each of them. It is a package
// of its own so that it runs beside the other tests of the library: it waits most of the time.
package faults

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime/pprof"
	"strings"
	"testing"
	"time"
)

// TestMain checks after all tests that nothing of them is left: no goroutine, no
// descriptor, no temporary file.
func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	tmp, err := os.MkdirTemp("", "fleetssh-test-*")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(tmp)
	os.Setenv("TMPDIR", tmp)
	os.Unsetenv("SSH_AUTH_SOCK")
	before := openFiles()
	code := m.Run()
	for end := time.Now().Add(10 * time.Second); ; {
		left := leftovers(before, tmp)
		if len(left) == 0 {
			return code
		}
		if time.Now().After(end) {
			fmt.Fprintf(os.Stderr, "left behind by the tests:\n%s\n", strings.Join(left, "\n\n"))
			return 1
		}
		<-time.After(20 * time.Millisecond)
	}
}

// leftovers returns what is there now and was not before the tests.
func leftovers(before map[string]int, tmp string) []string {
	var left []string
	for _, stack := range goroutines() {
		if !leakOfLibrary(stack) {
			left = append(left, stack)
		}
	}
	for name, n := range openFiles() {
		if n > before[name] {
			left = append(left, fmt.Sprintf("%d descriptors of %s", n-before[name], name))
		}
	}
	files, _ := filepath.Glob(filepath.Join(tmp, "fleetssh-*"))
	return append(left, files...)
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
// as ARCHITECTURE.md says: a host has made its mux end with an error, and more packets
// were on the way than it keeps.
func leakOfLibrary(stack string) bool {
	for _, frame := range []string{"(*handshakeTransport).readLoop", "(*handshakeTransport).kexLoop", "(*handshakeTransport).Close", "(*mux).Wait"} {
		if strings.Contains(stack, frame) {
			return true
		}
	}
	return false
}

// openFiles counts the open descriptors by what they are, sockets and files.
func openFiles() map[string]int {
	kinds := make(map[string]int)
	links, _ := filepath.Glob("/proc/self/fd/*")
	for _, link := range links {
		target, err := os.Readlink(link)
		if err != nil {
			continue
		}
		kind, _, _ := strings.Cut(target, ":")
		if strings.HasPrefix(target, "anon_inode") || kind == "pipe" {
			continue // the runtime's own, and those of test binaries
		}
		kinds[kind]++
	}
	return kinds
}
