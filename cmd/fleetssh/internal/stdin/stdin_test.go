package stdin

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestBatches(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 3} {
		b, err := ForBatches(strings.NewReader("input"), n)
		if err != nil {
			t.Fatal(err)
		}
		for i := range n {
			in, err := b.Reader()
			if err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(in); err != nil || string(got) != "input" {
				t.Errorf("batch %d of %d: %q, %v", i+1, n, got, err)
			}
		}
		b.Close()
		if b.file != nil {
			if _, err := os.Stat(b.file.Name()); !os.IsNotExist(err) {
				t.Errorf("the temporary file is left: %v", err)
			}
		}
	}
	if b, err := ForBatches(nil, 3); err != nil || b.in != nil || b.file != nil {
		t.Errorf("no input: %v, %v", b, err)
	}
}

func TestOpen(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if _, err := Open(dir, nil); err == nil || !strings.Contains(err.Error(), "is a directory") {
		t.Errorf("a directory: %v", err)
	}
	if _, err := Open(filepath.Join(dir, "none"), nil); err == nil {
		t.Error("a file that does not exist is opened")
	}
	own := bytes.NewBufferString("own")
	if in, err := Open("-", own); err != nil {
		t.Error(err)
	} else if got, _ := io.ReadAll(in); string(got) != "own" {
		t.Errorf("standard input: %q", got)
	}
	name := filepath.Join(dir, "file")
	if err := os.WriteFile(name, []byte("content"), 0o600); err != nil {
		t.Fatal(err)
	}
	in, err := Open(name, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	for range 2 {
		if got, _ := io.ReadAll(in); string(got) != "content" {
			t.Errorf("the file: %q", got)
		}
		if err := Rewind(in); err != nil {
			t.Fatal(err)
		}
	}
	if Rewind(nil) != nil || Rewind(own) == nil {
		t.Error("what cannot be read again is no error, or no input is one")
	}
}
