package display

import (
	"bufio"
	"errors"
	"os"
	"path/filepath"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/results"
	"fleetssh/cmd/fleetssh/internal/selection"
)

// fileDisplay wraps a display and writes the output of each host to a file of its own.
type fileDisplay struct {
	Display
	View
	dirs  map[fleetssh.EventKind]string // --outdir and --errdir
	names []string                      // of the files, by host
	open  map[fileKey]*hostFile
}

// fileKey identifies a file: a host, and the directory for standard output or standard error.
type fileKey struct {
	host int
	dir  string
}

type hostFile struct {
	*bufio.Writer
	file *os.File
}

// newFiles returns a display that writes files and passes events on to next. It creates the files of
// all hosts now, as pssh does, so that no file keeps output of an earlier run.
func newFiles(v View, next Display, outdir, errdir string) *fileDisplay {
	d := &fileDisplay{Display: next, View: v, dirs: make(map[fleetssh.EventKind]string), open: make(map[fileKey]*hostFile)}
	if outdir != "" {
		d.dirs[fleetssh.StdoutLine] = outdir
	}
	if errdir != "" {
		d.dirs[fleetssh.StderrLine] = errdir
	}
	if outdir != "" && sameDirectory(outdir, errdir) {
		d.dirs[fleetssh.StderrLine] = outdir // one file for both, in the order of arrival
	}
	d.names = selection.FileNames(v.Summary.Hosts)
	for i := range d.names {
		for _, dir := range d.dirs {
			file, err := os.Create(filepath.Join(dir, d.names[i]))
			if err == nil {
				err = file.Close()
			}
			if d.reportError(err); err != nil {
				return d // the other files would fail likewise
			}
		}
	}
	return d
}

// sameDirectory reports whether two names are the same directory.
func sameDirectory(a, b string) bool {
	one, err := os.Stat(a)
	if err != nil {
		return false
	}
	other, err := os.Stat(b)
	return err == nil && os.SameFile(one, other)
}

func (d *fileDisplay) Show(ev fleetssh.Event) {
	lost := ev.Err != nil && OutputLost(ev.Err)
	if _, wanted := d.dirs[ev.Kind]; wanted && !lost {
		d.reportError(d.write(ev))
	}
	d.Display.Show(ev)
}

func (d *fileDisplay) write(ev fleetssh.Event) error {
	key := fileKey{ev.Index, d.dirs[ev.Kind]}
	f := d.open[key]
	if f == nil {
		file, err := os.OpenFile(filepath.Join(key.dir, d.names[ev.Index]), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o666)
		if err != nil {
			return err
		}
		f = &hostFile{bufio.NewWriter(file), file}
		d.open[key] = f
	}
	text := ev.Text
	if !ev.Partial {
		text += "\n"
	}
	_, err := f.WriteString(text)
	return err
}

// Finished closes the files of a host.
func (d *fileDisplay) Finished(r *results.Result) {
	for _, dir := range d.dirs {
		d.closeFile(fileKey{r.Index, dir})
	}
	d.Display.Finished(r)
}

func (d *fileDisplay) closeFile(key fileKey) {
	f := d.open[key]
	if f == nil {
		return
	}
	delete(d.open, key)
	err := f.Flush() // returns the error of any earlier write
	d.reportError(errors.Join(err, f.file.Close()))
}

// reportError reports the first error.
func (d *fileDisplay) reportError(err error) {
	if err != nil && !d.Summary.LocalError {
		d.Summary.LocalError = true
		d.Screen.Message("fleetssh: error: write output files: " + err.Error())
	}
}

func (d *fileDisplay) Close() {
	for key := range d.open {
		d.closeFile(key)
	}
	d.Display.Close()
}
