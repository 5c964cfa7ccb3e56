package transfer

import (
	"context"
	"errors"
	"os"
	"strings"
)

// emptyFile is a file that SCP has sent with a size of 0. It may still have content: the
// kernel gives its files in /proc that size.
type emptyFile struct {
	*progress
	entry *entry
	dir   string // of the target
	name  string // below dir
}

// maxEmpty is how many empty files may wait for the end of the stream.
const maxEmpty = 1000

var errSizeless = errors.New("its size is said to be 0 and it is not empty: SCP cannot carry it, SFTP can")

// checkEmpty asks the host which files are really empty, and removes the local copies of the others.
// If the host cannot tell, the files count as empty, as they do for scp.
func (d *scpDownload) checkEmpty(ctx context.Context) {
	waiting := d.empty
	d.empty = nil
	for len(waiting) > 0 {
		n := fitOnLine(len(waiting), func(i int) int { return len(waiting[i].entry.path) })
		batch := waiting[:n]
		waiting = waiting[n:]
		var args []string
		for _, file := range batch {
			args = append(args, absolute(file.entry.path))
		}
		var lines []string
		if out, err := d.host.command(ctx, shortCommand{programLine(scpEmptyProgram, args...), int64(n) * 16, d.job.opt.Stall}); err == nil {
			lines = strings.Split(string(out), "\n")
		}
		for i, file := range batch {
			var err error
			if i < len(lines) && lines[i] == "more" {
				err = fileError("read", file.entry.path, false, firstError(file.remove(), errSizeless))
			}
			file.end(err)
		}
	}
}

// remove removes the local copy.
func (f *emptyFile) remove() error {
	root, err := os.OpenRoot(f.dir)
	if err != nil {
		return err
	}
	defer root.Close()
	return root.Remove(f.name)
}
