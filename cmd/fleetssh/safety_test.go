package main

import (
	"strings"
	"testing"
)

// --batch and --max-fail refuse malformed and out-of-range amounts.
func TestAmounts(t *testing.T) {
	t.Parallel()
	bad := []string{"", " ", "x", "-1", "+1", "1.5", "NaN", "1e3", "99999999999999999999", "1,,2", ",", "1,", "0x10", "٣", "101%", "%", "-1%", "1%%", "99999999999999999999%"}
	for _, text := range append(bad, "0", "0%", "1,0") {
		f := safetyFlags{batch: text}
		if sizes, err := f.batchSizes(10); err == nil && strings.TrimSpace(text) != "" {
			t.Errorf("--batch %q: %v", text, sizes)
		}
	}
	for _, text := range append(bad, "1,2") {
		f := safetyFlags{maxFail: text}
		if most, _, err := f.failureLimit(10); err == nil && text != "" {
			t.Errorf("--max-fail %q: %d", text, most)
		}
	}
}
