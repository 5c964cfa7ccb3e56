package main

import (
	"bufio"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"fleetssh"
)

// fileDisplay writes what each host writes into a file of its own, beside another
// display.
type fileDisplay struct {
	display
	view
	dirs  map[fleetssh.EventKind]string // --outdir and --errdir
	names []string                      // of the files, by host
	open  map[fileKey]*hostFile
}

type fileKey struct {
	host int
	kind fleetssh.EventKind
}

type hostFile struct {
	*bufio.Writer
	file *os.File
}

// newFiles returns a display that writes files and leaves the rest to another.
func newFiles(v view, beside display, outdir, errdir string) *fileDisplay {
	d := &fileDisplay{display: beside, view: v, dirs: make(map[fleetssh.EventKind]string), open: make(map[fileKey]*hostFile)}
	if outdir != "" {
		d.dirs[fleetssh.StdoutLine] = outdir
	}
	if errdir != "" {
		d.dirs[fleetssh.StderrLine] = errdir
	}
	for _, h := range v.tally.hosts {
		d.names = append(d.names, fileName(h.label))
	}
	return d
}

// fileName makes a file name of a label: nothing in it leads out of the folder, or is
// hidden in it.
func fileName(label string) string {
	name := strings.Map(func(r rune) rune {
		if r == '/' || r == '\\' || r == 0 {
			return '_'
		}
		return r
	}, label)
	if strings.HasPrefix(name, ".") {
		name = "_" + name[1:]
	}
	return name
}

func (d *fileDisplay) show(ev fleetssh.Event) {
	lost := ev.Err != nil && outputLost(ev.Err)
	if _, wanted := d.dirs[ev.Kind]; wanted && !lost {
		d.note(d.write(ev))
	}
	d.display.show(ev)
}

func (d *fileDisplay) write(ev fleetssh.Event) error {
	key := fileKey{ev.Host, ev.Kind}
	f := d.open[key]
	if f == nil {
		file, err := os.Create(filepath.Join(d.dirs[ev.Kind], d.names[ev.Host]))
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

// finished closes the files of the host.
func (d *fileDisplay) finished(r *result) {
	for kind := range d.dirs {
		d.finish(fileKey{r.index, kind})
	}
	d.display.finished(r)
}

func (d *fileDisplay) finish(key fileKey) {
	f := d.open[key]
	if f == nil {
		return
	}
	delete(d.open, key)
	err := f.Flush() // says what went wrong with any write before
	d.note(errors.Join(err, f.file.Close()))
}

// note says the first thing that went wrong.
func (d *fileDisplay) note(err error) {
	if err != nil && !d.tally.trouble {
		d.tally.trouble = true
		d.screen.Message("fleetssh: error: output into files: " + err.Error())
	}
}

func (d *fileDisplay) close() {
	for key := range d.open {
		d.finish(key)
	}
	d.display.close()
}
