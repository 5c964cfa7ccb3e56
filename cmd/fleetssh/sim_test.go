package main

import (
	"testing"

	"fleetssh/cmd/fleetssh/internal/flagvalue"
)

func TestSimNumbers(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int64{"0": 0, "500": 500, "64K": 64 << 10, "1M": 1 << 20, "2G": 2 << 30} {
		if got, err := flagvalue.ParseSize(text); err != nil || got != want {
			t.Errorf("ParseSize(%q) = %d, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "K", "-1", "1KK", "1T", "9999999G"} {
		if got, err := flagvalue.ParseSize(text); err == nil {
			t.Errorf("ParseSize(%q) = %d, want an error", text, got)
		}
	}
	for text, want := range map[string]int{"0": 0, "3": 3, "10%": 1, "15%": 2, "100%": 10} {
		if got, err := share(text, 10); err != nil || got != want {
			t.Errorf("share(%q) = %d, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "%", "-1", "101%", "x"} {
		if got, err := share(text, 10); err == nil {
			t.Errorf("share(%q) = %d, want an error", text, got)
		}
	}
}
