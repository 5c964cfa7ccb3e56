package knownhosts_test

import (
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func sameOwner(a, b fs.FileInfo) bool {
	x, y := a.Sys().(*syscall.Stat_t), b.Sys().(*syscall.Stat_t)
	return x.Uid == y.Uid && x.Gid == y.Gid
}

// limitFiles lets this process write only small files: a larger write fails and, if how is
// "die", kills the process.
func limitFiles(t *testing.T, how string) {
	t.Helper()
	if how == "" {
		return
	}
	if how == "die" {
		limited := make(chan os.Signal, 1)
		signal.Notify(limited, syscall.SIGXFSZ)
		go func() {
			<-limited
			syscall.Kill(os.Getpid(), syscall.SIGKILL)
		}()
	}
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: 4000, Max: 4000}); err != nil {
		t.Fatal(err)
	}
}

// The file stays as it was, whether a write fails or kills the process.
func TestInterruptedAccept(t *testing.T) {
	t.Parallel()
	for how, most := range map[string]int{"fail": 0, "die": 1} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "known_hosts")
			before := fill("web {ed}\n# no end")
			writeFile(t, path, before)
			out, err := acceptInProcess(path, "a", how)
			if err == nil {
				t.Errorf("written in spite of the limit: %s", out)
			}
			if got := readFile(t, path); got != before {
				t.Errorf("file is %q", got)
			}
			if beside := leftBeside(t, path); len(beside) > most {
				t.Errorf("left beside the file: %v", beside)
			}
			// The next call succeeds.
			if out, err := acceptInProcess(path, "a", ""); err != nil {
				t.Errorf("%v: %s", err, out)
			}
			if got := readFile(t, path); !strings.HasPrefix(got, before+"\na0 ssh-ed25519 ") || strings.Count(got, "\n") != hosts+2 {
				t.Errorf("file is %q", got)
			}
		})
	}
}
