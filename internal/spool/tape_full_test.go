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

// Input that cannot be kept is not at its end.
func TestTapeCannotKeep(t *testing.T) {
	t.Setenv("TMPDIR", filepath.Join(t.TempDir(), "missing"))
	tape := NewTape()
	defer tape.Close()
	tape.Play(strings.NewReader(strings.Repeat("x", 2*tapeMemory)))
	var err error
	n, buf := 0, make([]byte, 64<<10)
	for off := int64(0); err == nil; off += int64(n) {
		n, err = tape.ReadAt(context.Background(), buf, off)
	}
	if err == io.EOF || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the error is %v", err)
	}
}
