package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"fleetssh/cmd/fleetssh/internal/exit"
	"fleetssh/cmd/fleetssh/internal/simulate"
)

// The status line below the output shows the progress of a copy and is cleared at the end.
func TestCopyStatusLine(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte(strings.Repeat("0123456789abcde\n", 1<<16)), 0o600); err != nil {
		t.Fatal(err)
	}
	r, fleet := startOnTerminal(t, simulate.Plan{Hosts: 2}, "put", "%", "--no-record", "--limit-rate", "400K", file, "copy")
	r.await("\r\x1b[Kput: 0 of 2 hosts done, ")
	code, shown := r.wait()
	if code != exit.OK {
		t.Errorf("exit code %d", code)
	}
	if !regexp.MustCompile(`\x1b\[Kput: [01] of 2 hosts done, (?:[12] running, )?[1-9][0-9]?% of 2\.0 MiB, [0-9.]+ [KM]iB/s, [0-9]s`).MatchString(shown) {
		t.Errorf("no status line shows how much is copied: %q", shown)
	}
	var left []string
	for line := range strings.SplitSeq(shown, "\n") {
		if i := strings.LastIndex(line, "\x1b[K"); i >= 0 {
			line = line[i+len("\x1b[K"):]
		}
		left = append(left, strings.Trim(line, "\r"))
	}
	if !regexp.MustCompile(`^127\.1\.0\.\[1-2\] \(2\): 1 file, 1\.0 MiB\n2 hosts: 1 file each, 1\.0 MiB in [0-9.]+m?s\n$`).MatchString(strings.Join(left, "\n")) {
		t.Errorf("left on the terminal: %q", left)
	}
	for _, server := range fleet.SSH.Servers {
		if got, err := server.ReadFile("/home/tester/copy"); err != nil || len(got) != 1<<20 {
			t.Errorf("%d bytes, %v", len(got), err)
		}
	}
}
