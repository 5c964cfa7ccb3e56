package compare

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// Kind is what stands at a path.
type Kind byte

// The kinds.
const (
	File      Kind = 'f'
	Directory Kind = 'd'
	Link      Kind = 'l'
)

// Entry is a local file, directory or link that a copy would put on a host.
type Entry struct {
	Path   string // for the host: the name of the source, and what follows below it
	Local  string // where it is
	Kind   Kind
	Sum    [sha256.Size]byte // of a file
	Target string            // of a link
	Mode   fs.FileMode       // permissions
}

// maxEntries is how many entries a copy may have to be compared.
const maxEntries = 100_000

// Entries returns what a copy of local sources would put on a host, in the order in which hosts are asked.
// It reads all files. As in a copy, a source that is a link is followed, and "dir/." means what is in dir.
func Entries(sources []string) ([]Entry, error) {
	var all []Entry
	for _, source := range sources {
		top := ""
		if last := source[strings.LastIndexByte(source, '/')+1:]; last != "." {
			abs, err := filepath.Abs(source)
			if err != nil {
				return nil, err
			}
			top = filepath.Base(abs)
		}
		root, err := filepath.EvalSymlinks(source)
		if err != nil {
			return nil, err
		}
		err = filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			rel, err := filepath.Rel(root, name)
			if err != nil {
				return err
			}
			e := Entry{Path: path.Join(top, filepath.ToSlash(rel)), Local: name}
			if e.Path == "." {
				return nil // the destination itself
			}
			if strings.ContainsRune(e.Path, '\n') {
				return fmt.Errorf("%q: a name with a line break cannot be compared", name)
			}
			if len(all) == maxEntries {
				return fmt.Errorf("%s: more than %d files cannot be compared", source, maxEntries)
			}
			if err := e.read(d); err != nil {
				return err
			}
			all = append(all, e)
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}

// read fills in what is known of the entry.
func (e *Entry) read(d fs.DirEntry) error {
	info, err := d.Info()
	if err != nil {
		return err
	}
	e.Mode = info.Mode() & (fs.ModePerm | fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky)
	switch {
	case info.Mode()&fs.ModeSymlink != 0:
		e.Kind = Link
		e.Target, err = os.Readlink(e.Local)
		return err
	case info.IsDir():
		e.Kind = Directory
		return nil
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s: not a regular file", e.Local)
	}
	e.Kind = File
	file, err := os.Open(e.Local)
	if err != nil {
		return err
	}
	defer file.Close()
	h := sha256.New()
	if _, err := io.Copy(h, file); err != nil {
		return err
	}
	h.Sum(e.Sum[:0])
	return nil
}

// Manifest returns the input of the program for entries.
func Manifest(entries []Entry) string {
	var b strings.Builder
	for i := range entries {
		b.WriteString(entries[i].Path + "\n")
	}
	return b.String()
}

// errOtherHome means a destination in the home of another account.
var errOtherHome = errors.New("only ~/ is supported, not the home directory of another user")

// Destination returns a destination as the program wants it: relative to the home directory, where
// commands start.
func Destination(dest string) (string, error) {
	if dest == "~" || dest == "~/" {
		return "./", nil
	}
	dest = strings.TrimPrefix(dest, "~/")
	if strings.HasPrefix(dest, "~") {
		return "", errOtherHome
	}
	return dest, nil
}

// Into reports whether the destination of a copy must be a directory.
func Into(sources []string, dest string) bool {
	last := sources[0][strings.LastIndexByte(sources[0], '/')+1:]
	return len(sources) > 1 || dest == "" || strings.HasSuffix(dest, "/") || last == "."
}
