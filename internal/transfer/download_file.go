package transfer

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"sync/atomic"

	"github.com/pkg/sftp"
)

// file copies one file. names is what else is in its directory.
func (d *download) file(ctx context.Context, e *entry, to *target, names []string) {
	name := to.name(e.name)
	there, err := to.root.Lstat(name)
	if err != nil {
		there = nil
	} else if m := there.Mode(); !m.IsRegular() && m.Type() != fs.ModeSymlink {
		d.failed(e.path, fileError("replace", to.local(e.name), true, errors.New("there is something else: "+kindOf(m))))
		return
	}
	select {
	case d.files <- struct{}{}:
		defer func() { <-d.files }()
	case <-ctx.Done():
		return
	}
	select {
	case d.job.store.slots <- struct{}{}:
		defer func() { <-d.job.store.slots }()
	case <-ctx.Done():
		return
	}
	same, err := d.same(ctx, e, to, there)
	if err != nil {
		d.failed(e.path, fileError("compare", e.path, false, err))
		return
	}
	if same {
		d.skipped(e.path, e.size)
		return
	}
	p := d.begin(e.path, e.size)
	f := &downloadFile{download: d, progress: p, entry: e, to: to, name: name, there: there}
	p.end(f.copy(ctx, names))
}

// same reports whether the file is here already: with the same size and, to the second,
// the same time, or the same checksum.
func (d *download) same(ctx context.Context, e *entry, to *target, there fs.FileInfo) (bool, error) {
	opt := &d.job.opt
	if there == nil || !there.Mode().IsRegular() || there.Size() != e.size || !opt.Preserve && !opt.Resume && !opt.Verify {
		return false, nil
	}
	sameTime := there.ModTime().Unix() == e.mtime.Unix()
	if opt.Preserve && there.Mode().Perm() != e.mode.Perm() {
		return false, nil
	}
	if !opt.Verify && (sameTime || opt.Preserve && !opt.Resume) {
		return sameTime, nil
	}
	ours, err := digestBelow(ctx, to.root, to.name(e.name), e.size)
	if err != nil {
		return false, nil // it cannot be read: it is replaced
	}
	theirs, err := d.hasher.digest(ctx, e.path, -1)
	return ours == theirs && (sameTime || !opt.Preserve), err
}

// digestBelow returns the digest of the beginning of a file.
func digestBelow(ctx context.Context, root *os.Root, name string, n int64) (digest, error) {
	file, err := root.Open(name)
	if err != nil {
		return digest{}, err
	}
	defer file.Close()
	return digestReader(ctx, file, n)
}

// downloadFile is one file on its way from a host.
type downloadFile struct {
	*download
	*progress
	entry *entry
	to    *target
	name  string
	there fs.FileInfo

	temp    *temp
	file    *os.File
	handles []*sftp.File // one for each channel that carries it
	via     []*channel
}

// copy copies the file to a temporary name and gives it its own when it is complete.
func (f *downloadFile) copy(ctx context.Context, names []string) (err error) {
	f.temp = &temp{name: path.Join(path.Dir(f.name), tempName(path.Base(f.name)))}
	defer func() {
		f.closeHandles()
		if f.file != nil {
			f.abandon(ctx.Err() != nil || f.ended() != nil)
		}
	}()
	from, err := f.claim(ctx, names)
	if err != nil {
		return fileError("resume", f.entry.path, false, err)
	}
	if err := f.openRemote(); err != nil {
		return fileError("open", f.entry.path, false, err)
	}
	if f.file == nil {
		if f.file, err = f.to.root.OpenFile(f.temp.name, os.O_RDWR|os.O_CREATE|os.O_EXCL, f.entry.mode.Perm()); err != nil {
			return fileError("create", f.to.local(f.entry.name), true, err)
		}
	}
	f.progress.there(from)
	f.temp.from(int64(f.job.store.size), from)
	if f.entry.size == 0 {
		err = f.readUnsized(ctx)
	} else {
		err = f.read(ctx, from)
	}
	if err != nil {
		return err
	}
	return f.publish(ctx)
}

// claim takes over what an earlier copy of the file has left, and returns how much of it
// is a beginning of the file.
func (f *downloadFile) claim(ctx context.Context, names []string) (int64, error) {
	if !f.job.opt.Resume {
		return 0, nil
	}
	root, dir, base := f.to.root, path.Dir(f.name), path.Base(f.name)
	var infos []fs.FileInfo
	for _, name := range names {
		if info, err := root.Lstat(path.Join(dir, name)); isTempOf(name, base) && err == nil {
			infos = append(infos, info)
		}
	}
	best := largestLeftover(infos, base, f.entry.size)
	if best == nil || root.Rename(path.Join(dir, best.Name()), f.temp.name) != nil {
		return 0, nil
	}
	for _, n := range beginnings(best.Size()) {
		ours, err := digestBelow(ctx, root, f.temp.name, n)
		if err != nil {
			break
		}
		theirs, err := f.hasher.digest(ctx, f.entry.path, n)
		if err != nil {
			return 0, err
		}
		if ours != theirs {
			continue
		}
		if f.file, err = root.OpenFile(f.temp.name, os.O_RDWR, 0); err != nil {
			break
		}
		return n - n%int64(f.job.store.size), nil
	}
	return 0, root.Remove(f.temp.name)
}

// openRemote opens the file on the host, on several channels if it is large.
func (f *downloadFile) openRemote() error {
	channels := f.all()
	n := min(len(channels), 1+int(f.entry.size/(4<<20)))
	start := int(f.turn.Add(1))
	for i := range n {
		ch := channels[(start+i)%len(channels)]
		err := ch.do(func() error {
			handle, err := ch.Open(f.entry.path)
			if err == nil {
				f.handles, f.via = append(f.handles, handle), append(f.via, ch)
			}
			return err
		})
		if err != nil {
			if i > 0 && f.reason(err) == err {
				return nil // the first is enough
			}
			return f.reason(err)
		}
	}
	return nil
}

// read fetches the blocks from an offset on, many at a time.
func (f *downloadFile) read(ctx context.Context, from int64) error {
	size := int64(f.job.store.size)
	blocks := (f.entry.size + size - 1) / size
	var failed atomic.Pointer[error]
	var next atomic.Int64
	next.Store(from / size)
	at := int(min(blocks-from/size, int64(cap(f.flight))))
	each(ctx, at, at, func(worker int) {
		handle, ch := f.handles[worker%len(f.handles)], f.via[worker%len(f.handles)]
		for failed.Load() == nil {
			i := next.Add(1) - 1
			if i >= blocks {
				return
			}
			if err := f.block(ctx, i, ch, handle); err != nil {
				failed.CompareAndSwap(nil, &err)
			}
		}
	})
	if err := failed.Load(); err != nil {
		return *err
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	// The last block may have been a hole.
	return fileError("write", f.to.local(f.entry.name), true, f.file.Truncate(f.entry.size))
}

// block fetches one block. Zeros are not written: they make holes.
func (f *downloadFile) block(ctx context.Context, i int64, ch *channel, handle *sftp.File) error {
	select {
	case f.flight <- struct{}{}:
		defer func() { <-f.flight }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	off := i * int64(f.job.store.size)
	n := int(min(int64(f.job.store.size), f.entry.size-off))
	buf := f.job.buffers.Get().([]byte)[:n]
	defer func() { f.job.buffers.Put(buf[:cap(buf)]) }()
	for rest, at := buf, off; len(rest) > 0; {
		k := min(len(rest), int(f.limits.read))
		if err := f.job.pace(ctx, k); err != nil {
			return err
		}
		got := 0
		err := ch.do(func() (err error) { got, err = handle.ReadAt(rest[:k], at); return err })
		if err == io.EOF {
			return fileError("read", f.entry.path, false, errEarly)
		}
		if err != nil {
			return fileError("read", f.entry.path, false, f.reason(err))
		}
		f.carried(got)
		rest, at = rest[got:], at+int64(got)
	}
	if !allZero(buf) {
		if _, err := f.file.WriteAt(buf, off); err != nil {
			return fileError("write", f.to.local(f.entry.name), true, err)
		}
	}
	f.temp.arrived(i)
	return nil
}

// errEarly is why a file is not complete.
var errEarly = errors.New("it ends before the size that the host has given")

// mostUnsized is how much is read of a file whose size is said to be 0: those in /proc
// are like that.
const mostUnsized = 64 << 20

// readUnsized reads a file to its end.
func (f *downloadFile) readUnsized(ctx context.Context) error {
	buf := f.job.buffers.Get().([]byte)
	defer func() { f.job.buffers.Put(buf) }()
	for off := int64(0); ; {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		n := 0
		err := f.via[0].do(func() (err error) {
			n, err = f.handles[0].ReadAt(buf[:min(len(buf), int(f.limits.read))], off)
			return err
		})
		if n > 0 {
			if _, err := f.file.WriteAt(buf[:n], off); err != nil {
				return fileError("write", f.to.local(f.entry.name), true, err)
			}
			f.carried(n)
			off += int64(n)
		}
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return fileError("read", f.entry.path, false, f.reason(err))
		case off > mostUnsized:
			return fileError("read", f.entry.path, false, errors.New("the host gives it a size of 0 and it does not end"))
		}
		if err := f.job.pace(ctx, n); err != nil {
			return err
		}
	}
}

// publish gives the file its permissions, times and name.
func (f *downloadFile) publish(ctx context.Context) error {
	local := f.to.local(f.entry.name)
	if f.job.opt.Verify {
		if _, err := f.file.Seek(0, io.SeekStart); err != nil {
			return fileError("verify", local, true, err)
		}
		info, err := f.file.Stat()
		if err != nil {
			return fileError("verify", local, true, err)
		}
		ours, err := digestReader(ctx, f.file, info.Size())
		if err != nil {
			return fileError("verify", local, true, err)
		}
		theirs, err := f.hasher.digest(ctx, f.entry.path, -1)
		if err != nil {
			return fileError("verify", f.entry.path, false, err)
		}
		if ours != theirs {
			return fileError("verify", local, true, errDiffers)
		}
	}
	if err := f.dress(); err != nil {
		return fileError("set the permissions of", local, true, err)
	}
	if err := f.file.Sync(); err != nil {
		return fileError("write", local, true, err)
	}
	if err := f.file.Close(); err != nil {
		return fileError("write", local, true, err)
	}
	if err := f.to.root.Rename(f.temp.name, f.name); err != nil {
		return fileError("rename to", local, true, err)
	}
	f.file = nil
	return nil
}

// dress gives the file its permissions and times. What would let others act as its owner
// is not taken from a host.
func (f *downloadFile) dress() error {
	if f.job.opt.Preserve {
		if err := f.file.Chmod(f.entry.mode.Perm() | f.entry.mode&fs.ModeSticky); err != nil {
			return err
		}
		return f.to.root.Chtimes(f.temp.name, f.entry.mtime, f.entry.mtime)
	}
	if f.there != nil && f.there.Mode().IsRegular() {
		return f.file.Chmod(f.there.Mode().Perm())
	}
	return nil
}

// abandon removes the temporary file, unless the copy was broken off and another can go on
// with it.
func (f *downloadFile) abandon(interrupted bool) {
	n := f.temp.beginning()
	keep := interrupted && n >= resumable && f.file.Truncate(n) == nil
	f.file.Close()
	if !keep {
		_ = f.to.root.Remove(f.temp.name) // it may have its name already
	}
}

func (f *downloadFile) closeHandles() {
	for i, handle := range f.handles {
		_ = f.via[i].do(handle.Close) // nothing was written
	}
	f.handles = nil
}
