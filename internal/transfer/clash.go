package transfer

import (
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// Clash is where the downloads of two hosts would go.
type Clash struct {
	Host  int    // whose files would go to Place
	Other int    // whose files go there, or to a directory above it
	Place string // on this machine
}

// FindClash returns the first place that the downloads of two hosts share, or nil. Host number i
// copies sources(i) to dests[i]. glob says that sources are patterns.
func FindClash(dests []string, sources func(i int) []string, glob bool) *Clash {
	paths := writtenPaths(dests, sources, glob)
	slices.SortFunc(paths, func(a, b writtenPath) int { return strings.Compare(a.path+"/", b.path+"/") })
	var above []writtenPath // those that the next one is in, the innermost last
	for _, at := range paths {
		for len(above) > 0 && !strings.HasPrefix(at.path+"/", above[len(above)-1].path+"/") {
			above = above[:len(above)-1]
		}
		for _, other := range above {
			if other.host != at.host {
				return &Clash{Host: at.host, Other: other.host, Place: at.given}
			}
		}
		above = append(above, at)
	}
	return nil
}

// writtenPath is where the files of one source go.
type writtenPath struct {
	path, given string // from the root, and as it is named
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
			// The names that a pattern matches are not known yet: the whole directory counts.
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
