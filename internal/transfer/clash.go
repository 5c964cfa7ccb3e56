package transfer

import (
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// Clash is a local path to which the downloads of two hosts would both write.
type Clash struct {
	Host  int    // index of a host that writes to Path
	Other int    // index of a host that writes to Path or a directory above it
	Path  string // on this machine
}

// FindClash returns the first clash of downloads, or nil. Host number i copies sources(i) to
// dests[i]. glob is set if sources are patterns.
func FindClash(dests []string, sources func(i int) []string, glob bool) *Clash {
	paths := writtenPaths(dests, sources, glob)
	slices.SortFunc(paths, func(a, b writtenPath) int { return strings.Compare(a.path+"/", b.path+"/") })
	var above []writtenPath // parents of the next one, the innermost last
	for _, at := range paths {
		for len(above) > 0 && !strings.HasPrefix(at.path+"/", above[len(above)-1].path+"/") {
			above = above[:len(above)-1]
		}
		for _, other := range above {
			if other.host != at.host {
				return &Clash{Host: at.host, Other: other.host, Path: at.given}
			}
		}
		above = append(above, at)
	}
	return nil
}

// writtenPath is a path to which the files of one source are written.
type writtenPath struct {
	path, given string // absolute, and as the user named it
	host        int
}

func writtenPaths(dests []string, sources func(i int) []string, glob bool) []writtenPath {
	var paths []writtenPath
	for i, dest := range dests {
		from := sources(i)
		info, err := os.Stat(dest)
		into := strings.HasSuffix(dest, string(filepath.Separator)) || len(from) > 1 || err == nil && info.IsDir()
		for _, source := range from {
			at := filepath.Clean(dest)
			// What a pattern will match is unknown, so the whole directory counts.
			if pattern := glob && strings.ContainsAny(source, "*?["); into && !pattern && !strings.HasSuffix(source, "/.") {
				at = filepath.Join(at, path.Base(source))
			}
			full := at
			if abs, err := filepath.Abs(at); err == nil {
				full = abs
			}
			paths = append(paths, writtenPath{full, at, i})
		}
	}
	return paths
}
