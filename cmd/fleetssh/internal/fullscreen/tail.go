package fullscreen

import (
	"bytes"
	"strings"

	"fleetssh/cmd/fleetssh/internal/fold"
	"fleetssh/internal/sanitize"
)

const (
	// tailMemory is how many bytes the tails of all hosts share, and minTail and maxTail bound the share
	// of one host.
	tailMemory = 16 << 20
	minTail    = 256
	maxTail    = 64 << 10
	// maxLine is how many bytes of a line are kept: more fit no screen.
	maxLine = 2 << 10
)

// tailLimit returns how many bytes each of a number of hosts may keep.
func tailLimit(hosts int) int { return min(max(tailMemory/max(hosts, 1), minTail), maxTail) }

// tail is the last lines of a host, in the order in which they arrived.
type tail struct {
	kept  []byte // a byte for the stream, the line, and a line end, for each line
	lines int    // how many lines the host has written
}

// line is one line of output.
type line struct {
	stream fold.Stream
	text   string
}

// add adds a line. Beyond limit bytes, the oldest lines are dropped.
func (t *tail) add(limit int, l line) {
	t.lines++
	text := sanitize.Cut(l.text, min(maxLine, limit/2))
	if strings.Contains(text, "\n") { // possible in other character sets
		text = strings.ReplaceAll(text, "\n", " ")
	}
	if len(t.kept)+len(text)+2 > limit {
		t.drop(limit / 2)
	}
	t.kept = append(t.kept, byte(l.stream))
	t.kept = append(t.kept, text...)
	t.kept = append(t.kept, '\n')
}

// drop drops the oldest lines until at most so many bytes are left.
func (t *tail) drop(most int) {
	from := max(len(t.kept)-most, 0)
	if from > 0 && t.kept[from-1] != '\n' {
		from += bytes.IndexByte(t.kept[from:], '\n') + 1
	}
	t.kept = t.kept[:copy(t.kept, t.kept[from:])]
}

// last returns at most n lines, the newest last.
func (t *tail) last(n int) []line {
	var lines []line
	for rest := t.kept; len(rest) > 0 && len(lines) < n; {
		begin := bytes.LastIndexByte(rest[:len(rest)-1], '\n') + 1
		lines = append(lines, line{fold.Stream(rest[begin]), string(rest[begin+1 : len(rest)-1])})
		rest = rest[:begin]
	}
	for i, k := 0, len(lines)-1; i < k; i, k = i+1, k-1 {
		lines[i], lines[k] = lines[k], lines[i]
	}
	return lines
}
