package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"sync/atomic"

	"github.com/pkg/sftp"
)

// file copies one file. names is what else is in its directory.
func (d *download) file(ctx context.Context, e *entry, to *target, siblings []string) {
	a, err := to.newPartialFile(e)
	if err != nil {
		d.failed(e.path, err)
		return
	}
	defer a.release()
	select {
	case d.files <- struct{}{}:
		defer func() { <-d.files }()
	case <-ctx.Done():
		return
	}
	select {
	case d.job.blocks.slots <- struct{}{}:
		defer func() { <-d.job.blocks.slots }()
	case <-ctx.Done():
		return
	}
	same, err := d.same(ctx, e, to, a.existing)
	if err != nil {
		d.failed(e.path, fileError("compare", e.path, false, err))
		return
	}
	if same {
		d.skipped(e.path, e.size)
		return
	}
	p := d.begin(e.path, e.size)
	f := &downloadFile{download: d, progress: p, partialFile: a}
	p.end(f.copy(ctx, siblings))
}

// same reports whether the file is here already: with the same size and, to the second,
// the same time, or the same checksum.
func (d *download) same(ctx context.Context, e *entry, to *target, existing fs.FileInfo) (bool, error) {
	if same, sure := d.job.opt.same(e, existing); sure {
		return same, nil
	}
	ours, err := digestBelow(ctx, to.root, to.name(e.name), e.size)
	if err != nil {
		return false, nil // it cannot be read: it is replaced
	}
	theirs, err := d.hasher.digest(ctx, hashed{e.path, e.size, true})
	return ours == theirs, err
}

// downloadFile is one file on its way from a host.
type downloadFile struct {
	*download
	*progress
	*partialFile
	handles []*sftp.File // one for each channel that carries it
	via     []*channel
	hole    atomic.Bool // there is one: it may be at the end
}

// copy copies the file to a temporary name and gives it its own when it is complete.
func (f *downloadFile) copy(ctx context.Context, siblings []string) (err error) {
	defer func() {
		f.closeHandles()
		f.abandon(ctx.Err() != nil || f.ended() != nil)
	}()
	from, err := f.claim(ctx, siblings)
	if err != nil {
		return fileError("resume", f.entry.path, false, err)
	}
	if err := f.openRemote(); err != nil {
		return fileError("open", f.entry.path, false, err)
	}
	if err := f.create(); err != nil {
		return err
	}
	f.progress.resumed(from)
	f.temp.start(int64(f.job.blocks.size), f.entry.size, from)
	if f.entry.size == 0 {
		err = f.readUnsized(ctx)
	} else {
		err = f.read(ctx, from)
		if errors.Is(err, errShort) && from == 0 && f.sizeless() {
			if err = f.error("write", f.out.Truncate(0)); err == nil {
				err = f.readUnsized(ctx)
			}
		}
	}
	if err != nil {
		return err
	}
	if f.job.opt.Verify {
		if err := f.verify(ctx, f.hasher); err != nil {
			return err
		}
	}
	return f.publish(f.job.opt.Preserve)
}

// claim takes over what an earlier copy of the file has left, and returns how much of it
// is a beginning of the file.
func (f *downloadFile) claim(ctx context.Context, siblings []string) (int64, error) {
	if !f.job.opt.Resume {
		return 0, nil
	}
	root, dir, base := f.dir.Root, ".", f.name
	var infos []fs.FileInfo
	for _, name := range siblings {
		if info, err := root.Lstat(path.Join(dir, name)); isTempOf(name, base) && err == nil {
			infos = append(infos, info)
		}
	}
	best := largestLeftover(infos, base, f.entry.size)
	if best == nil || root.Rename(path.Join(dir, best.Name()), f.temp.name) != nil {
		return 0, nil
	}
	for _, n := range prefixSizes(best.Size()) {
		ours, err := digestBelow(ctx, root, f.temp.name, n)
		if err != nil {
			break
		}
		theirs, err := f.hasher.digest(ctx, hashed{path: f.entry.path, n: n})
		if err != nil {
			return 0, err
		}
		if ours != theirs {
			continue
		}
		from := n - n%int64(f.job.blocks.size)
		if f.out, err = root.OpenFile(f.temp.name, os.O_RDWR, 0); err != nil {
			break
		}
		if err = f.resetMode(); err != nil {
			return 0, err
		}
		return from, f.out.Truncate(from) // holes are not written: nothing else may be there
	}
	return 0, root.Remove(f.temp.name)
}

// resetMode gives a file that an earlier copy has left the permissions of a new one:
// those on the host may have changed since. A new one tells what they are here.
func (f *downloadFile) resetMode() error {
	name := tempName(f.name)
	probe, err := f.dir.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, f.entry.mode.Perm()|ownerBits)
	if err != nil {
		return err
	}
	defer func() { _ = f.dir.Remove(name) }() // one that stays is empty
	defer probe.Close()
	info, err := probe.Stat()
	if err != nil {
		return err
	}
	return f.out.Chmod(info.Mode().Perm())
}

// openRemote opens the file on the host, on several channels if it is large.
func (f *downloadFile) openRemote() error {
	channels := f.channelsOf(f.entry.size)
	ch := channels[0]
	err := ch.do(func() error {
		handle, err := ch.Open(f.entry.path)
		if err == nil {
			f.handles, f.via = []*sftp.File{handle}, []*channel{ch}
		}
		return err
	})
	if err != nil {
		return f.reason(err)
	}
	more, via := openAll(channels[1:], func(ch *channel) (*sftp.File, error) { return ch.Open(f.entry.path) })
	f.handles, f.via = append(f.handles, more...), append(f.via, via...)
	return nil
}

// read fetches the blocks from an offset on, many at a time.
func (f *downloadFile) read(ctx context.Context, from int64) error {
	size := int64(f.job.blocks.size)
	blocks := (f.entry.size + size - 1) / size
	var failed atomic.Pointer[error]
	var next atomic.Int64
	next.Store(from / size)
	at := int(min(blocks-from/size, int64(cap(f.inFlight))))
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
	if f.hole.Load() {
		return f.error("write", f.out.Truncate(f.entry.size))
	}
	return nil
}

// block fetches one block. Zeros are not written: they make holes.
func (f *downloadFile) block(ctx context.Context, i int64, ch *channel, handle *sftp.File) error {
	select {
	case f.inFlight <- struct{}{}:
		defer func() { <-f.inFlight }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	off := i * int64(f.job.blocks.size)
	n := int(min(int64(f.job.blocks.size), f.entry.size-off))
	pooled := f.job.buffers.Get().(*[]byte)
	defer f.job.buffers.Put(pooled)
	buf := (*pooled)[:n]
	if err := f.job.throttle(ctx, n); err != nil { // the whole block at once, as for an upload
		return err
	}
	for rest, at := buf, off; len(rest) > 0; {
		k := min(len(rest), int(f.limits.read))
		got, err := ch.readAt(handle, rest[:k], at)
		if err == io.EOF {
			return fileError("read", f.entry.path, false, errShort)
		}
		if err != nil {
			return fileError("read", f.entry.path, false, f.reason(err))
		}
		f.carried(got)
		rest, at = rest[got:], at+int64(got)
	}
	if allZero(buf) {
		f.hole.Store(true)
	} else if _, err := f.out.WriteAt(buf, off); err != nil {
		return f.error("write", err)
	}
	f.temp.written(i)
	return nil
}

// errShort is why a file is not complete.
var errShort = errors.New("it ends before the size that the host has given")

// sizeless reports whether the size that the host gives a file is none: it has ended before
// it, and the host stays with it. A file that has become shorter has another size now.
func (f *downloadFile) sizeless() bool {
	info, err := f.via[0].fileInfo(f.handles[0].Stat)
	return err == nil && info.Size() == f.entry.size && info.Size() <= kernelPage
}

// maxUnsized is how much is read of a file whose size is none: 0 for those in /proc, a
// page for those in /sys.
const maxUnsized = 64 << 20

// readUnsized reads a file to its end.
func (f *downloadFile) readUnsized(ctx context.Context) error {
	pooled := f.job.buffers.Get().(*[]byte)
	defer f.job.buffers.Put(pooled)
	buf := *pooled
	for off := int64(0); ; {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		n, err := f.via[0].readAt(f.handles[0], buf[:min(len(buf), int(f.limits.read))], off)
		if n > 0 {
			if _, err := f.out.WriteAt(buf[:n], off); err != nil {
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
		case off > maxUnsized:
			return fileError("read", f.entry.path, false, fmt.Errorf("it does not end within %d MiB, and its size is none", maxUnsized>>20))
		}
		if err := f.job.throttle(ctx, n); err != nil {
			return err
		}
	}
}

func (f *downloadFile) closeHandles() {
	_ = closeAll(f.handles, f.via) // nothing was written
	f.handles = nil
}
