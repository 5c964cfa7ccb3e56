package transfer

import (
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestWaitingHereIsNoStall: time spent on this side does not count as silence of the host.
func TestWaitingHereIsNoStall(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	content := strings.Repeat("x", 40<<10)
	local := write(t, filepath.Join(t.TempDir(), "f"), content)
	// The rate limit takes four seconds for what is more than the burst; the host is silent meanwhile.
	j := newJob(t, Options{SCP: true, Rate: 8 << 10, Stall: 2 * time.Second})
	if r, err := j.Upload(soon(t), m.host(), []string{local}, "f", nil); err != nil || r.Files != 1 {
		t.Fatalf("%+v, %v", r, err)
	}
	wantFile(t, filepath.Join(m.dir, "f"), content)
}
