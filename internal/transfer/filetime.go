package transfer

import (
	"io/fs"
	"math"
	"time"
)

// The times that SFTP can carry: seconds since 1970 in 32 bits (version 3, section 5).
var (
	firstTime = time.Unix(0, 0)
	lastTime  = time.Unix(math.MaxUint32, 0)
)

// sftpTime returns the time nearest to t that SFTP can carry. Without it, 1965 would
// arrive as 2101, and 2200 as 2064.
func sftpTime(t time.Time) time.Time {
	switch {
	case t.Before(firstTime):
		return firstTime
	case t.After(lastTime):
		return lastTime
	}
	return t
}

// Unsuited returns how many entries of the sources of an upload have times that the
// protocol cannot carry, and the path of the first. The sources must have been checked.
func (j *Job) Unsuited(sources []string) (n int, first string) {
	if !j.opt.Preserve {
		return 0, ""
	}
	for _, source := range sources {
		t, err := j.localTree(source)
		if err != nil {
			continue // the copy says so
		}
		for i := range t.entries {
			e := &t.entries[i]
			carried := sftpTime(e.mtime).Equal(e.mtime) || j.opt.SCP && !e.mtime.Before(firstTime)
			if carried || e.mode.Type() == fs.ModeSymlink { // no times are set of links
				continue
			}
			if n++; n == 1 {
				first = e.path
			}
		}
	}
	return n, first
}
