// Package fleettest has what the black-box tests of the library share: simulated hosts and real
// servers with the configurations to log in to them, hosts that break the protocol, services behind
// tunnels, waiting, comparing, and the check that a test binary leaves nothing behind. It imports
// the library, so only tests import it.
package fleettest

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"runtime/pprof"
	"slices"
	"strings"
	"testing"
	"time"

	"fleetssh"
	"fleetssh/internal/account"
)

// Main runs the tests of a package and ends the process. The TestMain of every package of black-box
// tests calls it. During the tests, the library takes the home directory from HOME, and TMPDIR is a
// new directory. After all tests, Main fails if they have left anything behind: a goroutine, a
// descriptor or a temporary file. It checks only once, so the tests may run in parallel.
//
// Each of stays gets the stack of a goroutine, as [runtime/pprof] writes it, and returns true if
// the goroutine may stay.
func Main(m *testing.M, stays ...func(stack string) bool) { os.Exit(run(m, stays)) }

func run(m *testing.M, stays []func(string) bool) int {
	tmp, err := os.MkdirTemp("", "fleetssh-test-*")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(tmp)
	os.Setenv("TMPDIR", tmp)
	fakeHome()
	before := openFiles()
	code := m.Run()
	var left []string
	for end := time.Now().Add(Patience); ; {
		left = append(goroutines(stays), leftovers(before, tmp)...)
		if len(left) == 0 {
			return code
		}
		if time.Now().After(end) {
			break
		}
		// Unread output stays readable after Close. A finalizer closes its file, so the garbage
		// collector has to run first.
		runtime.GC()
		<-time.After(20 * time.Millisecond)
	}
	fmt.Fprintf(os.Stderr, "left behind by the tests:\n%s\n", strings.Join(left, "\n"))
	return 1
}

// fakeHome makes the library take the home directory from HOME, so that each test can set its
// own.
func fakeHome() {
	account.Fake(func() account.User {
		u := account.Real()
		u.Home = os.Getenv("HOME")
		return u
	})
}

// Module is the path of this module, with which the names of its functions begin in stacks.
var Module = reflect.TypeFor[fleetssh.HostConfig]().PkgPath()

// goroutines returns the stacks of this module's and x/crypto's goroutines that may not stay.
func goroutines(stays []func(string) bool) []string {
	var left []string
	var stacks strings.Builder
	pprof.Lookup("goroutine").WriteTo(&stacks, 1)
	for _, stack := range strings.Split(stacks.String(), "\n\n") {
		ours := strings.Contains(stack, Module) && !strings.Contains(stack, "fleettest.Main")
		theirs := strings.Contains(stack, "golang.org/x/crypto/ssh") && !strings.Contains(stack, Module)
		if (ours || theirs) && !slices.ContainsFunc(stays, func(own func(string) bool) bool { return own(stack) }) {
			left = append(left, stack)
		}
	}
	return left
}

// leftovers describes the descriptors and temporary files that did not exist before the tests.
func leftovers(before map[string]int, tmp string) []string {
	var left []string
	for name, n := range openFiles() {
		if n > before[name] {
			left = append(left, fmt.Sprintf("%d descriptors of %s", n-before[name], name))
		}
	}
	files, _ := filepath.Glob(filepath.Join(tmp, "fleetssh-*"))
	return append(left, files...)
}

// openFiles counts the open descriptors: sockets together, files by name.
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
			continue // the runtime and the test binary have their own
		}
		kinds[kind]++
	}
	return kinds
}
