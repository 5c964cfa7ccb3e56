package spool

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestReplayBufferFull: if the disk is full, readers get an error and not the end of the input.
func TestReplayBufferFull(t *testing.T) {
	t.Setenv("TMPDIR", filepath.Join(t.TempDir(), "missing"))
	buffer := NewReplayBuffer()
	defer buffer.Close()
	buffer.Fill(strings.NewReader(strings.Repeat("x", 2*replayMemory)))
	var err error
	n, buf := 0, make([]byte, 64<<10)
	for off := int64(0); err == nil; off += int64(n) {
		n, err = buffer.ReadAt(context.Background(), buf, off)
	}
	if err == io.EOF || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the error is %v", err)
	}
}
