package results

import (
	"io"
	"testing"
	"time"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/exit"
	"fleetssh/cmd/fleetssh/internal/selection"
	"fleetssh/cmd/fleetssh/internal/termline"
)

func TestShortDuration(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		700960 * time.Microsecond: "700ms", time.Second: "1s", 30012 * time.Millisecond: "30s", 1250 * time.Microsecond: "1.3ms",
		2 * time.Minute: "2m", 90 * time.Second: "1m30s", time.Hour: "1h", 0: "0s",
	} {
		if got := ShortDuration(d); got != want {
			t.Errorf("ShortDuration(%v) = %q, want %q", d, got, want)
		}
	}
}

func TestExitCodePriority(t *testing.T) {
	t.Parallel()
	exited := func(code int) fleetssh.Outcome { return fleetssh.Outcome{Kind: fleetssh.Exited, ExitCode: code} }
	kind := func(k fleetssh.OutcomeKind) fleetssh.Outcome { return fleetssh.Outcome{Kind: k} }
	for _, tt := range []struct {
		outcomes    []fleetssh.Outcome
		interrupted bool
		want        int
	}{
		{want: exit.OK},
		{outcomes: []fleetssh.Outcome{exited(0), exited(0)}, want: exit.OK},
		{outcomes: []fleetssh.Outcome{exited(0), exited(130)}, want: exit.Command},
		{outcomes: []fleetssh.Outcome{kind(fleetssh.Signaled)}, want: exit.Command},
		{outcomes: []fleetssh.Outcome{exited(1), kind(fleetssh.Unreachable)}, want: exit.Unreachable},
		{outcomes: []fleetssh.Outcome{exited(0), kind(fleetssh.NotStarted)}, want: exit.Unreachable},
		{outcomes: []fleetssh.Outcome{exited(0), kind(fleetssh.Lost)}, want: exit.Unreachable},
		{outcomes: []fleetssh.Outcome{kind(fleetssh.Unreachable), kind(fleetssh.TimedOut), exited(1)}, want: exit.Stopped},
		{outcomes: []fleetssh.Outcome{kind(fleetssh.Cancelled)}, want: exit.Stopped},
		{outcomes: []fleetssh.Outcome{kind(fleetssh.Skipped), exited(0)}, want: exit.Stopped},
		{outcomes: []fleetssh.Outcome{kind(fleetssh.TimedOut)}, interrupted: true, want: exit.Interrupted},
		{outcomes: []fleetssh.Outcome{exited(0)}, interrupted: true, want: exit.Interrupted},
	} {
		counted := &Summary{Interrupted: tt.interrupted}
		for _, o := range tt.outcomes {
			counted.AddResult(Result{Outcome: o})
		}
		if got := counted.ExitCode(); got != tt.want {
			t.Errorf("%v, interrupted %v: exit code %d, want %d", tt.outcomes, tt.interrupted, got, tt.want)
		}
	}
}

// The exit status of a remote command has 32 bits (RFC 4254, section 6.10), the exit code of a
// local process eight. A status that does not fit must not become 0.
func TestLargeExitCodes(t *testing.T) {
	t.Parallel()
	for code, want := range map[int]int{0: 0, 1: 1, 7: 7, 255: 255, 256: 255, 257: 255, 512: 255, 1 << 31: 255, 1<<32 - 1: 255, -1: 255, -256: 255} {
		counted := New(make([]selection.Host, 1))
		counted.Policy = "max"
		counted.AddResult(Result{Outcome: fleetssh.Outcome{Kind: fleetssh.Exited, ExitCode: code}, OK: code == 0})
		got := 0
		if err := counted.Err(); err != nil {
			got = exit.Report(termline.New(io.Discard, io.Discard), err)
		}
		if got != want {
			t.Errorf("the only command exits with %d: exit code %d, want %d", code, got, want)
		}
		if got := exit.Report(termline.New(io.Discard, io.Discard), exit.Status(code)); got != want {
			t.Errorf("exit status %d: exit code %d, want %d", code, got, want)
		}
	}
}
