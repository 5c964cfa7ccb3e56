package transfer

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"fleetssh/internal/scp"
	"fleetssh/internal/shellquote"
)

// scpUpload is a copy to one host over SCP. The protocol can neither list nor rename, so short
// commands do that before and after it.
type scpUpload struct {
	*recorder
	job     *Job
	host    *Host
	hasher  *hasher
	source  *scp.Source
	pending []pendingFile
	temps   map[string]bool // temporary paths on the host
	dirs    []*entry        // directories that were sent
}

// pendingFile is a file on the host that waits for its name, or a symbolic link that will be made
// under it.
type pendingFile struct {
	*progress
	temp, name string
	entry      *entry
}

// uploadSCP copies trees to a host.
func (j *Job) uploadSCP(ctx context.Context, host *Host, trees []*tree, dest string, report func(Progress)) (Result, error) {
	u := &scpUpload{recorder: &recorder{report: report}, temps: make(map[string]bool), job: j, host: host, hasher: &hasher{host: host, stall: j.opt.Stall}}
	err := u.run(ctx, trees, dest)
	u.cleanUp(ctx)
	switch {
	case ctx.Err() != nil:
		err = context.Cause(ctx)
	case u.hasher.stalled():
		err = ErrStalled
	case err != nil && host.Broken() && !errors.Is(err, ErrStalled):
		err = ErrLost
	}
	for _, a := range u.pending {
		a.end(fileError("rename to", a.name, false, firstError(err, ErrLost)))
	}
	return u.sum(err)
}

func (u *scpUpload) run(ctx context.Context, trees []*tree, dest string) error {
	tops, err := u.tops(ctx, trees, dest)
	if err != nil {
		return err
	}
	for i, t := range trees {
		u.listFailed(t)
		if err := u.tree(ctx, t, tops[i]); err != nil {
			return err
		}
	}
	return nil
}

// tops returns the destination of each tree, as upload.tops does.
func (u *scpUpload) tops(ctx context.Context, trees []*tree, dest string) ([]string, error) {
	name, err := homePath(dest)
	if err != nil {
		return nil, &Error{Op: "open", Path: dest, Err: err}
	}
	how := "as"
	if strings.HasSuffix(dest, "/") || len(trees) > 1 || dest == "" || dest == "~" || trees[0].base == "" {
		how = "into"
	}
	line := programLine(scpTopProgram, how, absolute(name), absolute(path.Dir(name)))
	out, err := u.host.command(ctx, shortCommand{line, 8192, u.job.opt.Stall})
	if err != nil {
		if u.host.Broken() || ctx.Err() != nil || errors.Is(err, ErrStalled) {
			return nil, err
		}
		return nil, fileError("create", dest, false, withOutput(err, out))
	}
	kind, link, _ := strings.Cut(strings.TrimSuffix(string(out), "\n"), "\n")
	into := kind == "dir"
	if path.IsAbs(link) {
		name = link
	}
	tops := make([]string, len(trees))
	for i, t := range trees {
		tops[i] = name
		if into && t.base != "" {
			tops[i] = path.Join(name, t.base)
		}
	}
	return tops, nil
}

// tree copies one tree or file.
func (u *scpUpload) tree(ctx context.Context, t *tree, top string) error {
	remote := scp.Command{Path: absolute(path.Dir(top)), Recursive: t.isDir(), Preserve: u.job.opt.Preserve, Directory: true}
	if t.isDir() && t.base == "" {
		remote.Path = absolute(top)
	}
	stream, err := u.host.Exec(ctx, remote.To())
	if err != nil {
		return err
	}
	defer stream.Close()
	guard := guardStream(ctx, stream, u.job.opt.Stall)
	defer guard.stop()
	u.source = scp.NewSource(guard, guard)
	u.send(ctx, t, top)
	broken := u.source.Broken()
	if broken == nil {
		if broken = guard.CloseWrite(); broken == nil {
			broken = u.source.Finish()
		}
	}
	if broken != nil && broken != io.EOF {
		if why := guard.reason(broken); why != broken {
			return why
		}
		return fileError("copy to", top, false, exitOf(guard, broken))
	}
	// A host that allows a single session accepts the next one only after this one has ended. The
	// exit status adds nothing to what scp has answered.
	if err := guard.Wait(); errors.Is(err, ErrLost) {
		return guard.reason(err)
	}
	guard.stop()
	if err := u.publish(ctx); err != nil {
		return err
	}
	return u.finishDirs(ctx, top)
}

// send sends the entries of a tree. A directory ends before the first entry that is not below it.
func (u *scpUpload) send(ctx context.Context, t *tree, top string) {
	var open []string // directories that have begun
	refused := ""     // a directory that the host has refused: nothing below it is sent
	for i := range t.entries {
		e := &t.entries[i]
		if ctx.Err() != nil || u.source.Broken() != nil {
			return
		}
		for len(open) > 0 && !below(e.name, open[len(open)-1]) {
			open = open[:len(open)-1]
			u.endDir(top, u.source.EndDir())
		}
		if refused != "" && below(e.name, refused) {
			u.failed(path.Join(top, e.name), fileError("create", path.Join(top, e.name), false, errNoDir))
			continue
		}
		name := path.Join(top, e.name)
		switch {
		case e.mode.IsDir() && e.name == "" && t.base == "":
			// scp runs in this directory already: only its content is sent.
			u.dirs = append(u.dirs, e)
		case e.mode.IsDir():
			record := recordOf(e, path.Base(name))
			if u.job.opt.Preserve { // writable until finishDirs sets the permissions: files are renamed in it
				record.Mode |= 0o700
			}
			if err := u.source.Dir(record); err != nil {
				u.failed(name, fileError("create", name, false, err))
				if refused = e.name; refused == "" {
					return
				}
				continue
			}
			open = append(open, e.name)
			u.dirs = append(u.dirs, e)
		case e.mode.IsRegular():
			u.file(ctx, e, name)
		default:
			temp := path.Join(path.Dir(name), tempName(path.Base(name)))
			u.temps[temp] = true
			u.pending = append(u.pending, pendingFile{u.begin(name, 0), temp, name, e})
		}
	}
	for range open {
		u.endDir(top, u.source.EndDir())
	}
}

// note notes what was wrong with a directory.
func (u *scpUpload) endDir(name string, err error) {
	if err != nil && u.source.Broken() == nil {
		u.failed(name, fileError("set the permissions of", name, false, err))
	}
}

// below reports whether an entry is anywhere below a directory of the tree.
func below(name, dir string) bool { return dir == "" || strings.HasPrefix(name, dir+"/") }

func recordOf(e *entry, name string) scp.Record {
	return scp.Record{Name: name, Mode: e.mode.Perm() | e.mode&fs.ModeSticky, Size: e.size, ModTime: e.mtime}
}

// file sends one file under a temporary name.
func (u *scpUpload) file(ctx context.Context, e *entry, name string) {
	p := u.begin(name, e.size)
	source, err := u.job.blocks.open(ctx, e)
	if err != nil {
		p.end(fileError("read", e.path, true, err))
		return
	}
	defer source.release()
	if strings.ContainsRune(path.Base(name), '\n') {
		p.end(fileError("copy to", name, false, errors.New("SCP cannot carry a name with a newline")))
		return
	}
	temp := path.Join(path.Dir(name), tempName(path.Base(name)))
	u.temps[temp] = true
	err = u.source.File(recordOf(e, path.Base(temp)), &blockReader{ctx: ctx, file: source, progress: p, job: u.job})
	if content, ok := errors.AsType[*scp.ContentError](err); ok {
		err = fileError("read", e.path, true, content.Err)
	}
	if err != nil {
		p.end(fileError("write", name, false, err))
		if p.done.Load() > 0 && u.source.Broken() == nil {
			u.remove(ctx, []string{temp}) // at once, since later files may need the space
		}
		return
	}
	u.pending = append(u.pending, pendingFile{p, temp, name, e})
}

// blockReader reads a local file through the block cache.
type blockReader struct {
	ctx      context.Context
	file     *sourceFile
	progress *progress
	job      *Job
	off      int64
}

func (r *blockReader) Read(p []byte) (int, error) {
	size := int64(r.file.cache.size)
	if r.off >= r.file.entry.size {
		return 0, io.EOF
	}
	b, err := r.file.block(r.ctx, r.off/size)
	if err != nil {
		return 0, err
	}
	defer b.release()
	n := copy(p, b.data[r.off%size:])
	if err := r.job.throttle(r.ctx, n); err != nil {
		return 0, err
	}
	r.off += int64(n)
	r.progress.carried(n)
	return n, nil
}

// publish gives the uploaded files their names.
func (u *scpUpload) publish(ctx context.Context) error {
	pending := u.pending
	defer func() { u.pending = pending }()
	if len(pending) > 0 {
		// Errors are ignored: not every host can sync, and not every one tells.
		line := programLine(scpSyncProgram, absolute(path.Dir(pending[0].name)))
		_, _ = u.host.command(ctx, shortCommand{line, 1024, u.job.opt.Stall})
	}
	for len(pending) > 0 && ctx.Err() == nil {
		preserve := ""
		if u.job.opt.Preserve {
			preserve = "preserve"
		}
		n := fitOnLine(len(pending), func(i int) int {
			return len(pending[i].temp) + len(pending[i].name) + len(pending[i].entry.link)
		})
		batch := pending[:n]
		args := []string{preserve}
		for _, a := range batch {
			args = append(args, absolute(a.temp), absolute(a.name), a.entry.link)
		}
		differ := make([]error, n)
		if u.job.opt.Verify {
			each(ctx, 32, n, func(i int) {
				if differ[i] = u.verify(ctx, &batch[i]); differ[i] != nil {
					args[1+3*i] = "" // renaming it fails
				}
			})
		}
		out, err := u.host.command(ctx, shortCommand{programLine(scpRenameProgram, args...), int64(n) * 256, u.job.opt.Stall})
		if err != nil {
			return fileError("rename to", batch[0].name, false, err)
		}
		lines := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
		for i := range batch {
			err := differ[i]
			switch {
			case err != nil:
			case i >= len(lines) || lines[i] == "":
				err = fileError("rename to", batch[i].name, false, errors.New("the host does not confirm it"))
			case lines[i] != "ok":
				err = fileError("rename to", batch[i].name, false, errors.New(strings.TrimSpace(lines[i])))
			default:
				delete(u.temps, batch[i].temp)
			}
			batch[i].end(err)
		}
		pending = pending[n:]
	}
	return nil
}

func (u *scpUpload) verify(ctx context.Context, a *pendingFile) error {
	if a.entry.link != "" {
		return nil
	}
	theirs, err := u.hasher.digest(ctx, hashed{a.temp, a.entry.size, true})
	if err != nil {
		return fileError("verify", a.name, false, err)
	}
	ours, err := u.job.localDigest(ctx, a.entry, a.entry.size)
	if err == nil && ours != theirs {
		err = errChecksum
	}
	return fileError("verify", a.name, false, err)
}

// cleanUp removes the temporary files that are left.
func (u *scpUpload) cleanUp(ctx context.Context) {
	if u.host.Broken() {
		return
	}
	ctx, answered, end := cleaning(ctx)
	defer end()
	for temps := slices.Sorted(maps.Keys(u.temps)); len(temps) > 0 && ctx.Err() == nil; {
		n := fitOnLine(len(temps), func(i int) int { return len(temps[i]) })
		u.remove(ctx, temps[:n])
		answered()
		temps = temps[n:]
	}
}

// remove removes temporary files.
func (u *scpUpload) remove(ctx context.Context, temps []string) {
	words := []string{"rm", "-f", "--"}
	for _, temp := range temps {
		words = append(words, absolute(temp))
	}
	_, _ = u.host.command(ctx, shortCommand{shellquote.Join(words...), 1024, cleanUpLimit}) // ignored: cleanUp tries again, and a file that cannot be removed stays
}
