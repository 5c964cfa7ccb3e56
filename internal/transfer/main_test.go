package transfer

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime/pprof"
	"strings"
	"testing"
	"time"
)

// TestMain checks that the tests leave no goroutine and no open file behind.
func TestMain(m *testing.M) {
	before := openFiles()
	code := m.Run()
	if code == 0 {
		code = leftovers(before)
	}
	os.Exit(code)
}

func leftovers(before int) int {
	var left []string
	for end := time.Now().Add(time.Minute); time.Now().Before(end); {
		left = nil
		var stacks strings.Builder
		pprof.Lookup("goroutine").WriteTo(&stacks, 1)
		for _, stack := range strings.Split(stacks.String(), "\n\n") {
			if strings.Contains(stack, "internal/transfer.") && !strings.Contains(stack, "transfer.TestMain") || strings.Contains(stack, "pkg/sftp") {
				left = append(left, stack)
			}
		}
		if n := openFiles(); n > before {
			left = append(left, fmt.Sprintf("%d descriptors", n-before))
		}
		if len(left) == 0 {
			return 0
		}
		<-time.After(20 * time.Millisecond)
	}
	fmt.Fprintf(os.Stderr, "left behind by the tests:\n%s\n", strings.Join(left, "\n"))
	return 1
}

// openFiles counts the descriptors of regular files.
func openFiles() int {
	n := 0
	links, _ := filepath.Glob("/proc/self/fd/*")
	for _, link := range links {
		if info, err := os.Stat(link); err == nil && info.Mode().IsRegular() {
			n++
		}
	}
	return n
}
