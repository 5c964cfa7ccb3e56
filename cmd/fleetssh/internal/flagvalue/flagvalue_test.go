package flagvalue

import (
	"testing"
	"time"
)

func TestRate(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int64{"500": 500, "1k": 1 << 10, "500K": 500 << 10, "10M": 10 << 20, "2G": 2 << 30} {
		var got int64
		if err := (Rate{To: &got}).Set(text); err != nil || got != want {
			t.Errorf("%q: %d, %v, want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "0", "0M", "-1", "x", "1.5M", "10MB", "10M/s", "9999999999999999999"} {
		var got int64
		if err := (Rate{To: &got}).Set(text); err == nil {
			t.Errorf("%q is taken as %d", text, got)
		}
	}
}

func TestSizeText(t *testing.T) {
	t.Parallel()
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1<<20 - 1: "1.0 MiB", 13002342: "12.4 MiB", 1 << 40: "1.0 TiB", 1<<63 - 1: "8.0 EiB"} {
		if got := SizeText(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
}

func TestParseDuration(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{
		"10": 10 * time.Second, "10s": 10 * time.Second, "2m": 2 * time.Minute, "1.5": 1500 * time.Millisecond,
		"500ms": 500 * time.Millisecond, "1h30m": 90 * time.Minute, "0": 0,
	} {
		if got, err := parseDuration(text); err != nil || got != want {
			t.Errorf("parseDuration(%q) = %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", ".", "-1", "-1s", "ten", "10x", "1.2.3", "10 s", "99999999999999999999", "NaN", "1e3"} {
		if got, err := parseDuration(text); err == nil {
			t.Errorf("parseDuration(%q) = %v, want an error", text, got)
		}
	}
}
