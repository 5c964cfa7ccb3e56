package transfer

import (
	"io/fs"
	"math"
	"time"
)

// The range of times in SFTP: unsigned 32-bit seconds since 1970 (version 3, section 5).
var (
	firstTime = time.Unix(0, 0)
	lastTime  = time.Unix(math.MaxUint32, 0)
)

// sftpTime returns the time nearest to t that SFTP can express. Without it, 1965 would become 2101,
// and 2200 would become 2064.
func sftpTime(t time.Time) time.Time {
	switch {
	case t.Before(firstTime):
		return firstTime
	case t.After(lastTime):
		return lastTime
	}
	return t
}

// Unsuited returns how many entries of an upload have times that the protocol cannot express, and
// the path of the first. CheckSources must have succeeded for the sources.
func (j *Job) Unsuited(sources []string) (n int, first string) {
	if !j.opt.Preserve {
		return 0, ""
	}
	for _, source := range sources {
		t, err := j.localTree(source)
		if err != nil {
			continue // the copy reports it
		}
		for i := range t.entries {
			e := &t.entries[i]
			carried := sftpTime(e.mtime).Equal(e.mtime) || j.opt.SCP && !e.mtime.Before(firstTime)
			if carried || e.mode.Type() == fs.ModeSymlink { // the times of links are not copied
				continue
			}
			if n++; n == 1 {
				first = e.path
			}
		}
	}
	return n, first
}
