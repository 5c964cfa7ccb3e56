package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"

	"fleetssh/internal/scp"
)

// scpDownload is a copy from one host over SCP.
type scpDownload struct {
	*recorder
	job     *Job
	hasher  *hasher
	sink    *scp.Sink
	entries int
	host    *Host
	empty   []emptyFile
}

// downloadSCP copies files or trees from a host. The host follows symbolic links, since SCP cannot
// send them.
func (j *Job) downloadSCP(ctx context.Context, host *Host, sources []string, dest string, report func(Progress)) (Result, error) {
	d := &scpDownload{recorder: &recorder{report: report}, job: j, host: host, hasher: &hasher{host: host, stall: j.opt.Stall}}
	var err error
	for _, source := range sources {
		if err = d.source(ctx, host, source, dest, len(sources) > 1); err != nil || ctx.Err() != nil {
			break
		}
	}
	switch {
	case ctx.Err() != nil:
		err = context.Cause(ctx)
	case d.hasher.stalled():
		err = ErrStalled
	case err != nil && host.Broken() && !errors.Is(err, ErrStalled):
		err = ErrLost
	}
	return d.sum(err)
}

// source copies everything that one source matches.
func (d *scpDownload) source(ctx context.Context, host *Host, source, dest string, into bool) error {
	name, err := homePath(source)
	if err != nil {
		return fileError("open", source, false, err)
	}
	glob := d.job.opt.Glob && strings.ContainsAny(name, "*?[")
	base := path.Base(name)
	if !glob && baseOf(source) == "" {
		base = ""
	}
	remote := scp.Command{Path: absolute(name), Glob: glob, Recursive: d.job.opt.Recursive, Preserve: d.job.opt.Preserve}
	stream, err := host.Exec(ctx, remote.From())
	if err != nil {
		return err
	}
	guard := guardStream(ctx, stream, d.job.opt.Stall)
	defer guard.stop()
	d.sink = scp.NewSink(guard, guard)
	defer d.checkEmpty(ctx) // after the session has ended: the host may allow a single one
	defer stream.Close()
	err = d.receive(ctx, source, dest, scpExpected{dir: path.Dir(name), base: base, glob: glob, into: into || glob})
	if err == nil {
		_ = guard.Wait() // ignored: scp has answered for each file. The wait frees the session.
		return nil
	}
	if _, isFile := errors.AsType[*Error](err); isFile && d.sink.Broken() == nil {
		return err
	}
	if why := guard.reason(err); why != err {
		return why
	}
	return fileError("copy", source, false, exitOf(guard, err))
}

// exitOf returns how the program on the host ended, if its end broke the stream. It does not wait for
// a program that sent nonsense, which may never end.
func exitOf(g *guard, err error) error {
	if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return err
	}
	why := g.Wait()
	if ended := g.reason(nil); ended != nil {
		return ended
	}
	if why == nil || errors.Is(why, ErrLost) {
		return err
	}
	return why
}

// scpExpected is what the host may send at the top. A host can send anything, so it is checked.
type scpExpected struct {
	dir, base string // base is "" if the host chooses the name
	glob      bool
	into      bool
}

// allows reports whether a name was asked for.
func (w *scpExpected) allows(name string) bool {
	if w.glob {
		ok, err := path.Match(w.base, name)
		return ok && err == nil
	}
	return w.base == "" || w.base == name
}

// receive reads the records of one source and writes their files.
func (d *scpDownload) receive(ctx context.Context, source, dest string, want scpExpected) error {
	var to *target
	defer func() {
		if to != nil {
			to.close()
		}
	}()
	var dirs []scpDir // directories that have begun, the innermost last
	tops := 0
	for ctx.Err() == nil {
		r, err := d.sink.Next()
		if warning, ok := errors.AsType[*scp.Warning](err); ok {
			d.failed(source, fileError("copy", source, false, warning))
			continue
		}
		if err == io.EOF {
			if tops == 0 && d.clean() {
				return errors.New("the host sent nothing")
			}
			return nil
		}
		if err != nil {
			return err
		}
		if d.entries++; d.entries > maxEntries {
			return fileError("copy", source, false, errTooManyNames)
		}
		if r.Kind == scp.EndDir {
			last := dirs[len(dirs)-1]
			dirs = dirs[:len(dirs)-1]
			to.finishDirs(d.recorder, []entry{*last.entry}, []int{0}, map[string]*localDir{last.entry.name: last.dir}, d.job.opt.Preserve)
			continue
		}
		if len(dirs) == 0 {
			if tops++; !want.allows(r.Name) || tops > 1 && !want.glob {
				return fileError("copy", r.Name, false, errors.New("the host sent a file that was not requested"))
			}
			if to != nil {
				to.close()
			}
			top := r.Name
			if want.base == "" {
				top = ""
			}
			if to, err = newTarget(dest, top, want.into); err != nil {
				return err
			}
		}
		e := &entry{path: path.Join(want.dir, r.Name), mode: r.Mode, size: r.Size, mtime: r.ModTime}
		if len(dirs) > 0 {
			above := dirs[len(dirs)-1].entry
			e.name, e.path = joinName(above.name, r.Name), path.Join(above.path, r.Name)
		}
		if r.Kind == scp.File {
			if err := d.file(ctx, e, to); err != nil {
				return err
			}
			continue
		}
		e.mode |= fs.ModeDir
		if dir, err := d.prepareDir(e, to); err == nil {
			dirs = append(dirs, scpDir{e, dir})
		} else if err := d.refuse(e.path, err); err != nil {
			return err
		}
	}
	return context.Cause(ctx)
}

// scpDir is a directory that is being filled.
type scpDir struct {
	entry *entry
	dir   *localDir
}

func (d *scpDownload) prepareDir(e *entry, to *target) (*localDir, error) {
	if !d.job.opt.Recursive {
		return nil, fileError("open", e.path, false, errIsDir)
	}
	if !safeName(path.Base(e.path)) {
		return nil, fileError("copy", e.path, false, errBadName)
	}
	dir, err := to.prepareDir(e)
	return dir, fileError("create", to.local(e.name), true, err)
}

// refuse records why a file of the host is refused, and tells the host.
func (d *scpDownload) refuse(name string, why error) error {
	d.failed(name, why)
	return d.sink.Refuse(why.Error())
}

// file receives one file. It records a failure of the file and returns one of the stream.
func (d *scpDownload) file(ctx context.Context, e *entry, to *target) error {
	if !safeName(path.Base(e.path)) {
		return d.refuse(e.path, fileError("copy", e.path, false, errBadName))
	}
	select {
	case d.job.blocks.slots <- struct{}{}:
		defer func() { <-d.job.blocks.slots }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	a, err := to.newPartialFile(e)
	if err != nil {
		return d.refuse(e.path, err)
	}
	defer a.release()
	p := d.begin(e.path, e.size)
	defer func() { a.abandon(false) }()
	if err := a.create(); err != nil {
		p.end(err)
		return d.sink.Refuse(err.Error())
	}
	_, err = d.sink.WriteTo(&partialWriter{ctx: ctx, partialFile: a, progress: p, job: d.job})
	switch warning, failed := errors.AsType[*scp.Warning](err); {
	case failed:
		p.end(fileError("read", e.path, false, warning))
		return nil
	case d.sink.Broken() != nil:
		p.end(fileError("read", e.path, false, d.sink.Broken()))
		return d.sink.Broken()
	case err != nil:
		p.end(a.error("write", err))
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return d.sink.Refuse(fmt.Sprint(err))
	}
	if d.job.opt.Verify {
		err = a.verify(ctx, d.hasher)
	}
	if err == nil {
		err = a.publish(d.job.opt.Preserve)
	}
	if err == nil && e.size == 0 {
		if d.empty = append(d.empty, emptyFile{p, e, to.dir, to.name(e.name)}); len(d.empty) >= maxEmpty {
			d.checkEmpty(ctx)
		}
		return nil
	}
	p.end(err)
	return nil
}

// partialWriter writes to a partial file, within the rate limit.
type partialWriter struct {
	ctx         context.Context
	partialFile *partialFile
	progress    *progress
	job         *Job
}

func (w *partialWriter) Write(b []byte) (int, error) {
	if err := w.job.throttle(w.ctx, len(b)); err != nil {
		return 0, err
	}
	n, err := w.partialFile.out.Write(b)
	w.progress.carried(n)
	return n, err
}
