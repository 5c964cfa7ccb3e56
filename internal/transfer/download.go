package transfer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// download is a copy from one host.
type download struct {
	*session
	*recorder
	hasher *hasher
}

// Download copies files or trees from a host. It returns what ended the copy, or else the error of
// the first file that could not be copied. report may be nil; several goroutines call it.
func (j *Job) Download(ctx context.Context, host *Host, sources []string, dest string, report func(Progress)) (Result, error) {
	if j.opt.SCP {
		return j.downloadSCP(ctx, host, sources, dest, report)
	}
	s, err := j.newSession(ctx, host)
	if err != nil {
		return Result{}, err
	}
	defer s.close()
	d := &download{session: s, recorder: &recorder{report: report}}
	d.hasher = &hasher{host: host, s: s, stall: j.opt.Stall}
	stop := s.stopAfter(ctx)
	err = d.run(ctx, sources, dest)
	stop()
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	} else if ended := s.ended(); ended != nil {
		err = ended
	}
	return d.sum(err)
}

// run copies the sources.
func (d *download) run(ctx context.Context, sources []string, dest string) error {
	trees, err := d.trees(ctx, sources)
	if err != nil {
		return err
	}
	into := len(sources) > 1 || d.job.opt.Glob && len(trees) > 1
	for _, t := range trees {
		target, err := newTarget(dest, t.base, into)
		if err != nil {
			return err
		}
		d.listFailed(t)
		err = d.tree(ctx, t, target)
		target.close()
		if err != nil {
			return err
		}
		if err := firstError(context.Cause(ctx), d.ended()); err != nil {
			return err
		}
	}
	return nil
}

// trees lists the sources.
func (d *download) trees(ctx context.Context, sources []string) ([]*tree, error) {
	var trees []*tree
	names := make(map[string]string)
	for _, source := range sources {
		found, err := d.find(source)
		if d.recordFileError(source, err) {
			continue
		} else if err != nil {
			return nil, err
		}
		for _, name := range found {
			t, err := d.list(ctx, name)
			if d.recordFileError(name, err) {
				continue
			} else if err != nil {
				return nil, err
			}
			if other, twice := names[t.base]; twice && t.base != "" {
				d.failed(name, fileError("copy", name, false, fmt.Errorf("%s has the same name", other)))
				continue
			}
			names[t.base] = name
			trees = append(trees, t)
		}
	}
	return trees, nil
}

// recordFileError records an error about one file and reports whether the copy of the others goes on.
func (d *download) recordFileError(name string, err error) bool {
	_, ofFile := errors.AsType[*Error](err)
	if ofFile && d.ended() == nil {
		d.failed(name, err)
		return true
	}
	return false
}

// maxMatches is how many names a pattern may match.
const maxMatches = 100_000

// find returns the names that a source matches.
func (d *download) find(source string) ([]string, error) {
	name, err := homePath(source)
	if err != nil {
		return nil, fileError("open", source, false, err)
	}
	// A file whose name is the pattern itself wins. A trailing "/." keeps its meaning.
	keep := func(name string) string {
		if strings.HasSuffix(source, "/.") || source == "." {
			return name + "/."
		}
		return name
	}
	if !d.job.opt.Glob || !strings.ContainsAny(name, `*?[`) {
		return []string{keep(name)}, nil
	}
	if _, err := d.lstat(name); err == nil {
		return []string{keep(name)}, nil
	}
	ch := d.nextChannel()
	var found []string
	err = ch.list(func() (err error) { found, err = ch.Glob(name); return err })
	if d.listing.exceeded() {
		return nil, fileError("list", source, false, errTooManyNames)
	}
	found = slices.DeleteFunc(found, func(name string) bool { return !safeName(path.Base(name)) })
	switch err = d.reason(err); {
	case err != nil:
		return nil, fileError("list", source, false, err)
	case len(found) == 0:
		return nil, fileError("open", source, false, errors.New("no file matches"))
	case len(found) > maxMatches:
		return nil, fileError("list", source, false, fmt.Errorf("the pattern matches more than %d names", maxMatches))
	}
	return found, nil
}

// list lists one source. Like scp, it follows a symbolic link at the top. Links below it are copied
// as links.
func (d *download) list(ctx context.Context, name string) (*tree, error) {
	t := &tree{base: baseOf(name)}
	name = path.Clean(name)
	info, err := d.stat(name)
	if err != nil {
		return nil, fileError("open", name, false, err)
	}
	top := entryOf("", name, info)
	t.entries = []entry{top}
	switch {
	case info.Mode().IsRegular():
		return t, nil
	case !info.IsDir():
		return nil, fileError("open", name, false, errNotRegular)
	case !d.job.opt.Recursive:
		return nil, fileError("open", name, false, errIsDir)
	}
	return t, d.walk(ctx, t)
}

func entryOf(name, path string, info fs.FileInfo) entry {
	return entry{name: name, path: path, mode: info.Mode(), size: info.Size(), mtime: info.ModTime()}
}

// Further bounds of listings, since a hostile host lists without end.
const (
	maxDepth    = 200
	maxNameSize = 4096
)

var errTooDeep = fmt.Errorf("directories are nested more than %d deep", maxDepth)

// walk lists everything below the top of a tree, many directories at once.
func (d *download) walk(ctx context.Context, t *tree) error {
	level := []entry{t.entries[0]}
	for depth := 0; len(level) > 0; depth++ {
		if depth > maxDepth {
			return fileError("list", level[0].path, false, errTooDeep)
		}
		found := make([][]entry, len(level))
		failed := make([]*Error, len(level))
		refused := make([][]*Error, len(level))
		each(ctx, d.job.workers(), len(level), func(i int) {
			list, err := d.readDir(ctx, level[i].path)
			if err != nil {
				failed[i] = &Error{Op: "list", Path: level[i].path, Err: err}
				return
			}
			found[i], refused[i] = entriesOf(&level[i], list)
		})
		if err := firstError(context.Cause(ctx), d.ended()); err != nil {
			return err
		}
		var next []entry
		for i := range found {
			if failed[i] != nil {
				if errors.Is(failed[i].Err, errTooManyNames) {
					return failed[i]
				}
				t.failed = append(t.failed, failed[i])
			}
			t.failed = append(t.failed, refused[i]...)
			t.entries = append(t.entries, found[i]...)
			for _, e := range found[i] {
				if e.mode.IsDir() {
					next = append(next, e)
				}
			}
		}
		level = next
	}
	return nil
}

// readDir lists one directory.
func (d *download) readDir(ctx context.Context, name string) ([]fs.FileInfo, error) {
	ch := d.nextChannel()
	var list []fs.FileInfo
	err := ch.list(func() (err error) { list, err = ch.ReadDirContext(ctx, name); return err })
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if endless := d.listing.reserve(amount{names: len(list)}); endless != nil {
		return nil, endless
	}
	return list, d.reason(err)
}

// entriesOf turns a listing into entries. It refuses names that could lead out of the directory.
func entriesOf(dir *entry, list []fs.FileInfo) (found []entry, refused []*Error) {
	seen := make(map[string]bool, len(list))
	found = make([]entry, 0, len(list))
	refuse := func(path string, why error) {
		refused = append(refused, &Error{Op: "copy", Path: path, Err: why})
	}
	for _, info := range list {
		name := info.Name()
		e := entryOf(joinName(dir.name, name), path.Join(dir.path, name), info)
		switch {
		case !safeName(name):
			refuse(dir.path+"/"+name, errBadName)
		case seen[name]:
			refuse(e.path, errors.New("the host lists it twice"))
		case e.mode.Type() == fs.ModeSymlink, e.mode.IsRegular(), e.mode.IsDir():
			found = append(found, e)
		default:
			refuse(e.path, errNotRegular)
		}
		seen[name] = true
	}
	return found, refused
}

var errBadName = errors.New("the host lists it under a name that no file can have")

// safeName reports whether a host may give a file this name.
func safeName(name string) bool {
	return name != "" && name != "." && name != ".." && len(name) <= maxNameSize &&
		!strings.ContainsAny(name, "/\x00") && filepath.IsLocal(name) && !strings.ContainsRune(name, filepath.Separator)
}

// tree copies a tree, or a single file.
func (d *download) tree(ctx context.Context, t *tree, to *target) error {
	entries := t.entries
	if !t.isDir() {
		d.grow(ctx, d.channelsFor(1, entries[0].size))
		var names []string
		if d.job.opt.Resume {
			names = to.readNames("")
		}
		d.file(ctx, &entries[0], to, names)
		return nil
	}
	dirs, files, links := split(entries)
	n, bytes := t.files()
	d.grow(ctx, d.channelsFor(n+len(dirs), bytes))
	inside := make(map[string]*localDir)
	for _, i := range dirs {
		e := &entries[i]
		if _, ok := inside[parentName(e.name)]; !ok && e.name != "" {
			continue
		}
		dir, err := to.prepareDir(e)
		if err != nil {
			d.failed(e.path, fileError("create", to.local(e.name), true, err))
			continue
		}
		inside[e.name] = dir
	}
	each(ctx, d.job.workers(), len(files)+len(links), func(i int) {
		if d.ended() != nil {
			return
		}
		var e *entry
		if i < len(files) {
			e = &entries[files[i]]
		} else {
			e = &entries[links[i-len(files)]]
		}
		dir, ok := inside[parentName(e.name)]
		switch {
		case !ok:
			d.failed(e.path, fileError("create", to.local(e.name), true, errNoDir))
		case e.mode.IsRegular():
			d.file(ctx, e, to, dir.names)
		default:
			d.link(e, to)
		}
	})
	if ctx.Err() != nil || d.ended() != nil {
		return nil
	}
	if d.job.opt.Delete && d.clean() {
		to.deleteExtra(d.recorder, entries, inside)
	}
	to.finishDirs(d.recorder, entries, dirs, inside, d.job.opt.Preserve)
	return nil
}

// link makes a symbolic link. Its target is not checked, since nothing here follows it.
func (d *download) link(e *entry, to *target) {
	ch := d.nextChannel()
	var target string
	err := ch.do(func() (err error) { target, err = ch.ReadLink(e.path); return err })
	if err = d.reason(err); err != nil {
		d.failed(e.path, fileError("read", e.path, false, err))
		return
	}
	if existing, err := to.root.Readlink(to.name(e.name)); err == nil && existing == target {
		d.skipped(e.path, 0)
		return
	}
	p := d.begin(e.path, 0)
	p.end(fileError("link", to.local(e.name), true, to.link(target, e.name)))
}
