// Package fleettest is what the black-box tests of the library have in common: simulated
// hosts and real servers with the configurations to log in to them, hosts that break the
// protocol, services for tunnels, waiting, comparing, and the check that a test binary
// leaves nothing behind. It imports the library, so only tests import it.
package fleettest

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"slices"
	"strings"
	"testing"
	"time"

	"fleetssh/internal/account"
)

// Main runs the tests of a package and ends the process. HOME names the home directory of
// the tests, and TMPDIR is a directory of their own. After all tests it fails if anything is
// left of them: a goroutine, a descriptor, a temporary file. Checking once lets the tests run
// in parallel. The TestMain of every package of black-box tests calls it.
//
// A goroutine that one of stays takes for its own may be left; it gets the stack as
// [runtime/pprof] writes it.
func Main(m *testing.M, stays ...func(stack string) bool) { os.Exit(run(m, stays)) }

func run(m *testing.M, stays []func(string) bool) int {
	tmp, err := os.MkdirTemp("", "fleetssh-test-*")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(tmp)
	os.Setenv("TMPDIR", tmp)
	pretendHome()
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
		// Output that nobody has read stays readable after Close; its file is
		// closed when the collector finds that nobody can read it any more.
		runtime.GC()
		<-time.After(20 * time.Millisecond)
	}
	fmt.Fprintf(os.Stderr, "left behind by the tests:\n%s\n", strings.Join(left, "\n"))
	return 1
}

// pretendHome lets HOME name the home directory, so that tests have one of their own.
func pretendHome() {
	account.Fake(func() account.User {
		u := account.Real()
		u.Home = os.Getenv("HOME")
		return u
	})
}

// goroutines returns those of this module and of the SSH library that may not stay.
func goroutines(stays []func(string) bool) []string {
	var left []string
	var stacks strings.Builder
	pprof.Lookup("goroutine").WriteTo(&stacks, 1)
	for _, stack := range strings.Split(stacks.String(), "\n\n") {
		ours := strings.Contains(stack, "fleetssh") && !strings.Contains(stack, "fleettest.Main")
		theirs := strings.Contains(stack, "golang.org/x/crypto/ssh") && !strings.Contains(stack, "fleetssh")
		if (ours || theirs) && !slices.ContainsFunc(stays, func(own func(string) bool) bool { return own(stack) }) {
			left = append(left, stack)
		}
	}
	return left
}

// leftovers returns the descriptors and files that are there now and were not before the tests.
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
