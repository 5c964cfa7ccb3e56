package journal

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// prune removes the oldest runs of a directory until at most so many runs and bytes are left. It
// keeps runs in progress and the run named keep. A failed removal is retried at the next run.
func prune(dir, keep string, runs int, bytes int64) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	files := make(map[string][]string) // of each run
	sizes := make(map[string]int64)
	var ids []string // the oldest first
	var total int64
	for _, e := range entries {
		id, ok := idOf(e.Name())
		info, err := e.Info()
		if !ok || err != nil || !info.Mode().IsRegular() {
			continue
		}
		if files[id] == nil {
			ids = append(ids, id)
		}
		files[id] = append(files[id], e.Name())
		sizes[id] += info.Size()
		total += info.Size()
	}
	left := len(ids)
	for _, id := range ids {
		if left <= runs && total <= bytes {
			return
		}
		if id != keep && removeRun(dir, files[id]) {
			left--
			total -= sizes[id]
		}
	}
}

// removeRun removes the files of a run, unless it is in progress. It removes the journal last,
// because the other files are found through it.
func removeRun(dir string, names []string) bool {
	journal := func(name string) int {
		if strings.HasSuffix(name, outputSuffix) {
			return 0
		}
		return 1
	}
	slices.SortFunc(names, func(a, b string) int { return journal(a) - journal(b) })
	if !finished(filepath.Join(dir, names[len(names)-1])) {
		return false
	}
	for _, name := range names {
		if os.Remove(filepath.Join(dir, name)) != nil {
			return false
		}
	}
	return true
}

// finished reports whether the run of a file is not in progress. That does not change any more:
// a journal is locked before anything is written to it.
func finished(path string) bool {
	file, err := os.Open(path)
	if err != nil {
		return false
	}
	defer file.Close()
	if info, err := file.Stat(); err != nil || info.Size() == 0 {
		return false
	}
	taken, err := tryLock(file, true)
	return taken && err == nil
}
