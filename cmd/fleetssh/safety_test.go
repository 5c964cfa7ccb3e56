package main

import (
	"errors"
	"io"
	"strings"
	"testing"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/exit"
	"fleetssh/cmd/fleetssh/internal/results"
	"fleetssh/cmd/fleetssh/internal/selection"
	"fleetssh/cmd/fleetssh/internal/termline"
)

// An exit status of a host has 32 bits, that of a process eight: what does not fit must not
// become 0.
func TestLargeExitCodes(t *testing.T) {
	t.Parallel()
	for code, want := range map[int]int{0: 0, 1: 1, 7: 7, 255: 255, 256: 255, 257: 255, 512: 255, 1 << 31: 255, 1<<32 - 1: 255, -1: 255, -256: 255} {
		counted := results.New(make([]selection.Host, 1))
		counted.Policy = "max"
		counted.Put(results.Result{Outcome: fleetssh.Outcome{Kind: fleetssh.Exited, ExitCode: code}, OK: code == 0})
		got := 0
		if err := counted.Err(); err != nil {
			got = exit.Report(termline.New(io.Discard, io.Discard), err)
		}
		if got != want {
			t.Errorf("the only host exits with %d: %d, want %d", code, got, want)
		}
		if got := exit.Report(termline.New(io.Discard, io.Discard), exit.Status(code)); got != want {
			t.Errorf("the program ends with exit status %d: %d, want %d", code, got, want)
		}
	}
}

// What is wrong with the settings of one host is found before any batch runs, and the host has
// its name.
func TestRehearsal(t *testing.T) {
	t.Parallel()
	hosts := []selection.Host{{Config: fleetssh.HostConfig{Host: "a"}, Label: "one"}, {Config: fleetssh.HostConfig{Host: "b", Attempts: -1}, Label: "two"}}
	err := rehearseHosts(hosts)
	if f, ok := errors.AsType[*exit.Error](err); !ok || f.Code != exit.Usage || f.Text != "two: HostConfig.Attempts: -1 is negative" {
		t.Errorf("%v", err)
	}
	if err := rehearseHosts(hosts[:1]); err != nil {
		t.Errorf("a good host: %v", err)
	}
}

// Every number that a flag takes has limits, and nothing is silently taken for something else.
func TestAmounts(t *testing.T) {
	t.Parallel()
	bad := []string{"", " ", "x", "-1", "+1", "1.5", "NaN", "1e3", "99999999999999999999", "1,,2", ",", "1,", "0x10", "٣", "101%", "%", "-1%", "1%%", "99999999999999999999%"}
	for _, text := range append(bad, "0", "0%", "1,0") {
		f := safetyFlags{batch: text}
		if sizes, err := f.sizes(10); err == nil && strings.TrimSpace(text) != "" {
			t.Errorf("--batch %q: %v", text, sizes)
		}
	}
	for _, text := range append(bad, "1,2") {
		f := safetyFlags{maxFail: text}
		if most, _, err := f.budget(10); err == nil && text != "" {
			t.Errorf("--max-fail %q: %d", text, most)
		}
	}
}
