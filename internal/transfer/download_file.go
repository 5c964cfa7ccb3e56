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

// file copies one file. siblings are the names in its local directory, where Resume looks for partial
// files.
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

// same reports whether the local file is the same already: with the same size and either the same
// time, to the second, or the same checksum.
func (d *download) same(ctx context.Context, e *entry, to *target, existing fs.FileInfo) (bool, error) {
	if same, sure := d.job.opt.same(e, existing); sure {
		return same, nil
	}
	ours, err := digestBelow(ctx, to.root, to.name(e.name), e.size)
	if err != nil {
		return false, nil // a file that cannot be read is replaced
	}
	theirs, err := d.hasher.digest(ctx, hashed{e.path, e.size, true})
	return ours == theirs, err
}

// downloadFile is one file on its way from a host.
type downloadFile struct {
	*download
	*progress
	*partialFile
	handles []*sftp.File
	via     []*channel  // the channel of each handle
	hole    atomic.Bool // zeros were skipped, perhaps at the end
}

// copy writes the file under a temporary name and renames it when it is complete.
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

// claim takes over the partial file of an earlier copy, and returns how many bytes of it can be kept.
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
		return from, f.out.Truncate(from) // the rest would show through holes, which are not written
	}
	return 0, root.Remove(f.temp.name)
}

// resetMode gives a resumed file the permissions of a new one, since those on the host may have
// changed. A probe file shows what they are under the umask.
func (f *downloadFile) resetMode() error {
	name := tempName(f.name)
	probe, err := f.dir.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, f.entry.mode.Perm()|ownerBits)
	if err != nil {
		return err
	}
	defer func() { _ = f.dir.Remove(name) }() // ignored: a probe file that stays is empty
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

// read reads the blocks from an offset on, many at once.
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

// block reads one block. Zeros are not written, which makes holes.
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

var errShort = errors.New("the file is shorter than the host has announced")

// sizeless reports whether the size of a file that ended early is wrong, as it is for files in /sys:
// the host still claims it. A file that was truncated has another size now.
func (f *downloadFile) sizeless() bool {
	info, err := f.via[0].fileInfo(f.handles[0].Stat)
	return err == nil && info.Size() == f.entry.size && info.Size() <= kernelPage
}

// maxUnsized is how many bytes are read of a file whose size is wrong, as in /proc and /sys.
const maxUnsized = 64 << 20

// readUnsized reads a file to its end, whatever its size is said to be.
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
			return fileError("read", f.entry.path, false, fmt.Errorf("its size is unknown, and it does not end within %d MiB", maxUnsized>>20))
		}
		if err := f.job.throttle(ctx, n); err != nil {
			return err
		}
	}
}

func (f *downloadFile) closeHandles() {
	_ = closeAll(f.handles, f.via) // safe to ignore: the files were only read
	f.handles = nil
}
