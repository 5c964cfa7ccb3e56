package results

import (
	"testing"

	"fleetssh"
)

func TestCopiedText(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		copied fleetssh.CopyResult
		want   string
	}{
		{fleetssh.CopyResult{Failed: 2, Bytes: 5, Outcome: fleetssh.Outcome{Kind: fleetssh.TimedOut}}, "0 files, 5 B (2 unfinished)"},
		{fleetssh.CopyResult{}, ""},
		{fleetssh.CopyResult{Files: 1}, "1 file, 0 B"},
		{fleetssh.CopyResult{Files: 3, Bytes: 13002342, Skipped: 2}, "3 files, 12.4 MiB (2 already there)"},
		{fleetssh.CopyResult{Skipped: 1, Deleted: 2, Failed: 3}, "0 files, 0 B (1 already there, 2 deleted, 3 failed)"},
		{fleetssh.CopyResult{Bytes: 2048}, "0 files, 2.0 KiB"},
	} {
		r := Result{Copied: &test.copied, Outcome: test.copied.Outcome}
		if got := r.CopiedText(); got != test.want {
			t.Errorf("%+v: %q, want %q", test.copied, got, test.want)
		}
	}
}
