package transfer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"
	"time"
)

// upload is a copy to one host.
type upload struct {
	*session
	*recorder
	hasher *hasher
	temps  temps

	learn sync.Once
	umask fs.FileMode // of the host; 022 unless learnUmask finds another
}

// Upload copies local files or trees to a host. It returns what ended the copy, or else the error of
// the first file that could not be copied. report may be nil; several goroutines call it.
func (j *Job) Upload(ctx context.Context, host *Host, sources []string, dest string, report func(Progress)) (Result, error) {
	trees, err := j.localTrees(sources)
	if err != nil {
		return Result{Failed: 1}, err
	}
	if j.opt.SCP {
		return j.uploadSCP(ctx, host, trees, dest, report)
	}
	s, err := j.newSession(ctx, host)
	if err != nil {
		return Result{}, err
	}
	defer s.close()
	u := &upload{session: s, recorder: &recorder{report: report}, umask: 0o022}
	u.hasher = &hasher{host: host, s: s, stall: j.opt.Stall}
	stop := s.stopAfter(ctx)
	grown := u.growFor(ctx, trees)
	err = u.run(ctx, trees, dest, grown)
	<-grown
	stop()
	u.cleanUp(ctx)
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	} else if ended := s.ended(); ended != nil {
		err = ended
	}
	return u.sum(err)
}

// CheckSources reports whether the sources of an upload can be listed.
func (j *Job) CheckSources(sources []string) error {
	_, err := j.localTrees(sources)
	return err
}

// localTrees lists the sources. Two with the same name are an error: one would overwrite the other.
func (j *Job) localTrees(sources []string) ([]*tree, error) {
	var trees []*tree
	names := make(map[string]string)
	for _, source := range sources {
		t, err := j.localTree(source)
		if err != nil {
			return nil, err
		}
		if other, twice := names[t.base]; twice && len(sources) > 1 && t.base != "" {
			return nil, &Error{Op: "copy", Path: source, Local: true, Err: fmt.Errorf("%s has the same name", other)}
		}
		names[t.base] = source
		trees = append(trees, t)
	}
	return trees, nil
}

// stopGrace is how long pending requests may take after the context has ended.
const stopGrace = 500 * time.Millisecond

// stopAfter fails the session, and so all requests, soon after ctx has ended.
func (s *session) stopAfter(ctx context.Context) (stop func() bool) {
	return context.AfterFunc(ctx, func() {
		timer := time.NewTimer(stopGrace)
		defer timer.Stop()
		select {
		case <-timer.C:
			s.fail(context.Cause(ctx))
		case <-s.quit:
		}
	})
}

// growFor opens the channels that the trees are worth, in the background. The returned channel is
// closed when they are open.
func (u *upload) growFor(ctx context.Context, trees []*tree) <-chan struct{} {
	var n int
	var bytes int64
	for _, t := range trees {
		files, size := t.files()
		n, bytes = n+files, bytes+size
	}
	grown := make(chan struct{})
	go func() {
		defer close(grown)
		u.grow(ctx, u.channelsFor(n, bytes))
	}()
	return grown
}

// run copies the trees.
func (u *upload) run(ctx context.Context, trees []*tree, dest string, grown <-chan struct{}) error {
	tops, err := u.tops(trees, dest)
	if err != nil {
		return err
	}
	<-grown
	for i, t := range trees {
		u.listFailed(t)
		if t.isDir() {
			err = u.tree(ctx, t, tops[i])
		} else {
			err = u.single(ctx, &t.entries[0], tops[i])
		}
		if err != nil {
			return err
		}
		if err := firstError(context.Cause(ctx), u.ended()); err != nil {
			return err
		}
	}
	return nil
}

// firstError returns the first error that is not nil.
func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// tops returns the destination of each tree. It is below dest if dest is a directory, ends with a
// slash, or takes several trees, and dest itself otherwise.
func (u *upload) tops(trees []*tree, dest string) ([]string, error) {
	into := strings.HasSuffix(dest, "/") || len(trees) > 1 || dest == "" || dest == "~"
	name, err := homePath(dest)
	if err != nil {
		return nil, &Error{Op: "open", Path: dest, Err: err}
	}
	if !into {
		info, err := u.stat(name)
		switch {
		case err == nil:
			into = info.IsDir()
		case !errors.Is(err, fs.ErrNotExist):
			return nil, fileError("open", dest, false, err)
		}
	}
	tops := make([]string, len(trees))
	for i, t := range trees {
		tops[i] = name
		if into && t.base != "" {
			tops[i] = path.Join(name, t.base)
		}
		parent := path.Dir(tops[i])
		if err := u.makeParents(parent); err != nil {
			return nil, fileError("create", parent, false, err)
		}
	}
	return tops, nil
}

// homePath returns a path for the SFTP server. Servers resolve relative paths from the home
// directory, so a leading "~/" is dropped.
func homePath(p string) (string, error) {
	switch {
	case p == "" || p == "~" || p == "~/":
		return ".", nil
	case strings.HasPrefix(p, "~/"):
		p = strings.TrimLeft(p[2:], "/")
	case strings.HasPrefix(p, "~"):
		return "", errors.New(`home directories of other users cannot be looked up (for a file of that name, write "./" before it)`)
	}
	if strings.IndexByte(p, 0) >= 0 {
		return "", errors.New("the path holds a NUL byte")
	}
	return path.Clean(p), nil
}

func (s *session) stat(name string) (info fs.FileInfo, err error) {
	ch := s.nextChannel()
	info, err = ch.fileInfo(func() (fs.FileInfo, error) { return ch.Stat(name) })
	return info, s.reason(err)
}

func (s *session) lstat(name string) (info fs.FileInfo, err error) {
	ch := s.nextChannel()
	info, err = ch.fileInfo(func() (fs.FileInfo, error) { return ch.Lstat(name) })
	return info, s.reason(err)
}

// makeParents makes a directory and its parents if they do not exist.
func (u *upload) makeParents(dir string) error {
	info, err := u.stat(dir)
	if err == nil {
		if !info.IsDir() {
			return errors.New("not a directory")
		}
		return nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if parent := path.Dir(dir); parent != dir {
		if err := u.makeParents(parent); err != nil {
			return err
		}
	}
	_, err = u.makeDir(dir)
	return err
}

// makeDir makes a directory unless it exists. made is false if it existed.
func (u *upload) makeDir(dir string) (made bool, err error) {
	ch := u.nextChannel()
	err = ch.do(func() error { return ch.Mkdir(dir) })
	if err == nil {
		return true, nil
	}
	// The server's answer does not say whether the directory exists.
	if info, statErr := u.stat(dir); statErr == nil {
		if info.IsDir() {
			return false, nil
		}
		return false, errors.New("not a directory")
	}
	return false, u.reason(err)
}

// single copies one file.
func (u *upload) single(ctx context.Context, e *entry, name string) error {
	existing, err := u.lstat(name)
	if err == nil && existing.Mode().Type() == fs.ModeSymlink {
		// Like scp, follow a symbolic link at the destination.
		ch := u.nextChannel()
		if err := ch.do(func() (err error) { name, err = ch.RealPath(name); return err }); err != nil {
			return fileError("open", name, false, u.reason(err))
		}
		existing, err = u.lstat(name)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fileError("open", name, false, err)
	}
	if err != nil {
		existing = nil
	}
	var siblings []fs.FileInfo
	if u.job.opt.Resume {
		siblings = u.list(path.Dir(name))
	}
	u.file(ctx, e, name, existing, siblings, nil)
	return nil
}

// list returns the content of a directory, or nil if it cannot be read.
func (s *session) list(dir string) (list []fs.FileInfo) {
	ch := s.nextChannel()
	err := ch.list(func() (err error) { list, err = ch.ReadDir(dir); return err })
	if s.reason(err) != nil {
		return nil
	}
	if err := s.listing.reserve(amount{names: len(list)}); err != nil {
		s.fail(fileError("list", dir, false, err))
		return nil
	}
	return list
}

// tree copies a directory.
func (u *upload) tree(ctx context.Context, t *tree, top string) error {
	entries := t.entries
	dirs, files, links := split(entries)
	n, _ := t.files()
	inside, err := u.makeDirs(ctx, entries, dirs, top)
	if err != nil {
		return err
	}
	flusher := u.newFlusher(n, inside, top)
	inDir := func(indexes []int, copy func(e *entry, name string, dir *remoteDir)) {
		each(ctx, u.job.workers(), len(indexes), func(i int) {
			if u.ended() != nil {
				return
			}
			e := &entries[indexes[i]]
			name := path.Join(top, e.name)
			if dir, ok := inside[parentName(e.name)]; ok {
				copy(e, name, dir)
			} else {
				u.failed(name, fileError("create", name, false, errNoDir))
			}
		})
	}
	inDir(files, func(e *entry, name string, dir *remoteDir) {
		u.file(ctx, e, name, dir.existing[path.Base(name)], dir.entries, flusher)
	})
	flusher.finish(ctx)
	inDir(links, func(e *entry, name string, dir *remoteDir) {
		u.link(ctx, e, name, dir.existing[path.Base(name)])
	})
	if ctx.Err() != nil || u.ended() != nil {
		return nil
	}
	if u.job.opt.Delete && u.clean() {
		u.deleteExtra(ctx, entries, inside, top)
	}
	u.finishDirs(ctx, entries, dirs, inside, top)
	return nil
}

// errNoDir means that the directory of an entry could not be made.
var errNoDir = errors.New("its directory could not be made")

// split returns the indexes of directories, files and links.
func split(entries []entry) (dirs, files, links []int) {
	for i := range entries {
		switch m := entries[i].mode; {
		case m.IsDir():
			dirs = append(dirs, i)
		case m.IsRegular():
			files = append(files, i)
		default:
			links = append(links, i)
		}
	}
	return dirs, files, links
}

// parentName returns the name of an entry's directory.
func parentName(name string) string {
	if i := strings.LastIndexByte(name, '/'); i >= 0 {
		return name[:i]
	}
	return ""
}

// remoteDir is a directory of the host and what it contained before the copy.
type remoteDir struct {
	made     bool
	existing map[string]fs.FileInfo
	entries  []fs.FileInfo
}

// makeDirs makes the directories of a tree, level by level, and lists those that exist. The result
// lacks those that cannot be made.
func (u *upload) makeDirs(ctx context.Context, entries []entry, dirs []int, top string) (map[string]*remoteDir, error) {
	inside := make(map[string]*remoteDir)
	for len(dirs) > 0 {
		depth := strings.Count(entries[dirs[0]].name, "/")
		if entries[dirs[0]].name == "" {
			depth = -1
		}
		var level, rest []int
		for _, i := range dirs {
			if name := entries[i].name; name == "" || depth >= 0 && strings.Count(name, "/") == depth {
				level = append(level, i)
			} else {
				rest = append(rest, i)
			}
		}
		slices.SortStableFunc(rest, func(a, b int) int { return strings.Count(entries[a].name, "/") - strings.Count(entries[b].name, "/") })
		made := make([]*remoteDir, len(level))
		each(ctx, u.job.workers(), len(level), func(i int) {
			made[i] = u.prepareDir(&entries[level[i]], path.Join(top, entries[level[i]].name))
		})
		for i, dir := range made {
			if dir != nil {
				inside[entries[level[i]].name] = dir
			}
		}
		if err := u.ended(); err != nil {
			return nil, err
		}
		dirs = rest
	}
	return inside, nil
}

// prepareDir makes a directory, or lists it if it exists. A failure is recorded and returns nil.
func (u *upload) prepareDir(e *entry, name string) *remoteDir {
	made, err := u.makeDir(name)
	if err != nil {
		u.failed(name, fileError("create", name, false, err))
		return nil
	}
	dir := &remoteDir{made: made, existing: make(map[string]fs.FileInfo)}
	if made {
		// A private directory must not be readable while it is being filled.
		if mode := e.mode.Perm(); mode&0o077 == 0 {
			ch := u.nextChannel()
			_ = u.reason(ch.do(func() error { return ch.Chmod(name, mode|0o700) })) // finishDirs tries again and reports it
		}
		return dir
	}
	dir.entries = u.list(name)
	for _, info := range dir.entries {
		dir.existing[info.Name()] = info
	}
	return dir
}

// finishDirs sets the permissions and times of directories, the deepest first. They had to be
// writable while they were filled, and filling them changed their times.
func (u *upload) finishDirs(ctx context.Context, entries []entry, dirs []int, inside map[string]*remoteDir, top string) {
	for i := len(dirs) - 1; i >= 0 && ctx.Err() == nil; i-- {
		e := &entries[dirs[i]]
		dir := inside[e.name]
		if dir == nil || !dir.made && !u.job.opt.Preserve {
			continue
		}
		name := path.Join(top, e.name)
		ch := u.nextChannel()
		err := ch.do(func() error {
			if u.job.opt.Preserve || e.mode.Perm()&^u.umask != 0o777&^u.umask {
				mode := e.mode.Perm() | e.mode&fs.ModeSticky
				if !u.job.opt.Preserve {
					mode &^= u.umask
				}
				if err := ch.Chmod(name, mode); err != nil {
					return err
				}
			}
			if u.job.opt.Preserve {
				return ch.Chtimes(name, sftpTime(e.mtime), sftpTime(e.mtime))
			}
			return nil
		})
		if err = u.reason(err); err != nil {
			u.failed(name, fileError("set the permissions of", name, false, err))
		}
	}
}
