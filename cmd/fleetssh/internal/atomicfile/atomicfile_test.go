package atomicfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// If writing fails, the existing file stays and no temporary file is left. A symbolic link and a
// device keep their type, and the file behind the link is replaced.
func TestWriteWhole(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	name := filepath.Join(dir, "page.html")
	read := func() string {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Error(err)
		}
		return string(text)
	}
	if err := os.WriteFile(name, []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	full := errors.New("no space left on device")
	err := Write(name, OwnerOnly, func(w io.Writer) error {
		fmt.Fprint(w, "half")
		return full
	})
	if err != full || read() != "old" {
		t.Errorf("%v, and the file is %q", err, read())
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(name, link); err != nil {
		t.Fatal(err)
	}
	if err := Write(link, OwnerOnly, Text([]byte("new"))); err != nil || read() != "new" {
		t.Errorf("%v, and the file is %q", err, read())
	}
	info, err := os.Stat(name)
	if err != nil || info.Mode() != OwnerOnly {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if info, err := os.Lstat(link); err != nil || info.Mode().Type() != fs.ModeSymlink {
		t.Errorf("the link is %v, %v", info.Mode(), err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".*")); len(left) > 0 {
		t.Errorf("temporary files left behind: %q", left)
	}
	if err := Write(os.DevNull, OwnerOnly, Text([]byte("text"))); err != nil {
		t.Error(err)
	}
	if info, err := os.Stat(os.DevNull); err != nil || info.Mode()&fs.ModeCharDevice == 0 {
		t.Errorf("%s is %v", os.DevNull, info.Mode())
	}
}
