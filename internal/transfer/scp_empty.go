package transfer

import (
	"context"
	"errors"
	"os"
	"strings"

	"fleetssh/internal/shellquote"
)

// emptyFile is a file that has come by SCP with a size of 0, and is here. Whether that was
// all of it is not known yet: the kernel says so of files that hold much.
type emptyFile struct {
	*progress
	entry *entry
	dir   string // of the target
	name  string // below dir
}

// mostEmpty is how many of them wait for the end of the stream.
const mostEmpty = 1000

// emptyScript says for each file whether there is something in it.
const emptyScript = `for f; do if [ -n "$(head -c 1 <"$f" | od -An -tx1)" ]; then echo more; else echo empty; fi; done 2>/dev/null`

// errSizeless is why a file is not copied.
var errSizeless = errors.New("its size is said to be 0 and it is not empty: SCP cannot carry it, SFTP can")

// settleEmpty finds out which files are empty, and removes those that are not. A host that
// cannot say so is believed, as scp believes it.
func (d *scpDownload) settleEmpty(ctx context.Context) {
	waiting := d.empty
	d.empty = nil
	for len(waiting) > 0 {
		words := []string{"sh", "-c", emptyScript, "sh"}
		n, size := 0, 0
		for n < len(waiting) && n < mostHashed && size < mostHashLine {
			words = append(words, absolute(waiting[n].entry.path))
			size += len(waiting[n].entry.path)
			n++
		}
		batch := waiting[:n]
		waiting = waiting[n:]
		var lines []string
		if out, err := d.host.command(ctx, question{shellquote.Join(words...), int64(n) * 16, d.job.opt.Stall}); err == nil {
			lines = strings.Split(string(out), "\n")
		}
		for i, file := range batch {
			var err error
			if i < len(lines) && lines[i] == "more" {
				err = fileError("read", file.entry.path, false, cmpError(file.remove(), errSizeless))
			}
			file.end(err)
		}
	}
}

// remove removes what is here of the file.
func (f *emptyFile) remove() error {
	root, err := os.OpenRoot(f.dir)
	if err != nil {
		return err
	}
	defer root.Close()
	return root.Remove(f.name)
}
