package transfer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"
	"sync/atomic"

	"github.com/pkg/sftp"
)

// file copies one file. there is what has its name on the host, left what else is in the
// directory; either may be nil.
func (u *upload) file(ctx context.Context, e *entry, name string, existing fs.FileInfo, siblings []fs.FileInfo, fl *flusher) {
	if existing != nil && !existing.Mode().IsRegular() && existing.Mode().Type() != fs.ModeSymlink {
		u.failed(name, fileError("replace", name, false, errors.New("there is something else: "+kindOf(existing.Mode()))))
		return
	}
	select {
	case u.files <- struct{}{}:
		defer func() { <-u.files }()
	case <-ctx.Done():
		return
	}
	same, err := u.same(ctx, e, name, existing)
	if err != nil {
		u.failed(name, fileError("compare", name, false, err))
		return
	}
	if same {
		u.skipped(name, e.size)
		return
	}
	p := u.begin(name, e.size)
	f := &uploadFile{upload: u, progress: p, entry: e, name: name, existing: existing, waits: fl.accepts(e)}
	if err := f.copy(ctx, siblings); err != nil || !f.waits {
		p.end(err)
	} else {
		fl.add(ctx, f)
	}
}

// kindOf says what something is that is no regular file.
func kindOf(mode fs.FileMode) string {
	switch {
	case mode.IsDir():
		return "a directory"
	case mode&fs.ModeSymlink != 0:
		return "a symbolic link"
	case mode&fs.ModeDevice != 0:
		return "a device"
	case mode&fs.ModeNamedPipe != 0:
		return "a FIFO"
	case mode&fs.ModeSocket != 0:
		return "a socket"
	}
	return "of a kind that is not known"
}

// same reports whether the file is on the host already: with the same size and, to the
// second, the same time, or the same checksum.
func (u *upload) same(ctx context.Context, e *entry, name string, existing fs.FileInfo) (bool, error) {
	if same, sure := u.job.opt.same(e, existing); sure {
		return same, nil
	}
	theirs, err := u.hasher.digest(ctx, hashed{name, e.size, true})
	if err != nil {
		return false, err
	}
	ours, err := u.job.localDigest(ctx, e, e.size)
	return ours == theirs, err
}

// uploadFile is one file on its way to a host.
type uploadFile struct {
	*upload
	*progress
	entry    *entry
	name     string
	existing fs.FileInfo
	waits    bool // for a sync with others, before it gets its name

	temp    *temp
	handles []*sftp.File // one for each channel that carries it
	via     []*channel
}

// copy copies the file to a temporary name and gives it its own when it is complete,
// unless it waits for that.
func (f *uploadFile) copy(ctx context.Context, siblings []fs.FileInfo) (err error) {
	source, err := f.job.blocks.open(ctx, f.entry)
	if err != nil {
		return fileError("read", f.entry.path, true, err)
	}
	defer source.release()
	f.temp = f.temps.add(path.Join(path.Dir(f.name), tempName(path.Base(f.name))))
	from, err := f.claim(ctx, siblings)
	if err != nil {
		return fileError("resume", f.name, false, err)
	}
	defer func() {
		_ = f.closeHandles() // after a failure, which counts
		if err != nil && f.ended() == nil && ctx.Err() == nil {
			f.discard(f.temp)
		}
	}()
	if err := f.open(from > 0); err != nil {
		return fileError("create", f.name, false, explainPermission(err, path.Dir(f.name), f.existing))
	}
	if from > 0 {
		// What is behind it may be of another file: holes are not written.
		if err := f.via[0].do(func() error { return f.handles[0].Truncate(from) }); err != nil {
			return fileError("resume", f.name, false, f.reason(err))
		}
	}
	// Before anything is in it: what is private must not be read while it is on its way.
	// Its owner may go on with it.
	if mode, needed := f.mode(); needed || from > 0 {
		if err := f.chmod(mode | ownerBits); err != nil {
			return err
		}
	}
	f.progress.resumed(from)
	f.temp.start(int64(f.job.blocks.size), f.entry.size, from)
	if err := f.write(ctx, source, from); err != nil {
		return err
	}
	if err := f.finish(source); err != nil || f.waits {
		return err
	}
	return f.publish(ctx)
}

// claim takes over what an earlier copy of the file has left, and returns how much of it
// is a beginning of the file.
func (f *uploadFile) claim(ctx context.Context, siblings []fs.FileInfo) (int64, error) {
	best := largestLeftover(siblings, path.Base(f.name), f.entry.size)
	if !f.job.opt.Resume || best == nil {
		return 0, nil
	}
	old := path.Join(path.Dir(f.name), best.Name())
	ch := f.nextChannel()
	if err := ch.do(func() error { return ch.Rename(old, f.temp.name) }); err != nil {
		return 0, onlyFatal(f.reason(err), f.session) // somebody else has it
	}
	f.temp.setLeftover(true)
	for _, n := range prefixSizes(best.Size()) {
		theirs, err := f.hasher.digest(ctx, hashed{path: f.temp.name, n: n})
		if err != nil {
			return 0, err
		}
		ours, err := f.job.localDigest(ctx, f.entry, n)
		if err != nil {
			return 0, err
		}
		if from := n - n%int64(f.job.blocks.size); ours == theirs && from > 0 {
			return from, nil
		}
	}
	return 0, f.removeTemp()
}

// removeTemp removes what was taken over, so that the file can be begun anew.
func (f *uploadFile) removeTemp() error {
	ch := f.nextChannel()
	err := f.reason(ch.do(func() error { return ch.Remove(f.temp.name) }))
	if err == nil {
		f.temp.setLeftover(false)
	}
	return err
}

// onlyFatal drops an error that is no reason to give up the host.
func onlyFatal(err error, s *session) error {
	if s.ended() != nil {
		return err
	}
	return nil
}

// open opens the temporary file, on several channels if it is large.
func (f *uploadFile) open(existing bool) error {
	channels := f.channelsOf(f.entry.size)
	flags := os.O_WRONLY
	if !existing {
		flags |= os.O_CREATE | os.O_EXCL
	}
	ch := channels[0]
	err := ch.do(func() error {
		handle, err := ch.OpenFile(f.temp.name, flags)
		if err != nil {
			return err
		}
		f.handles, f.via = []*sftp.File{handle}, []*channel{ch}
		return nil
	})
	if err != nil {
		return f.reason(err)
	}
	f.learn.Do(func() {
		if existing {
			f.probeUmask(ch)
		} else {
			f.learnUmask(ch, f.handles[0])
		}
	})
	more, via := openAll(channels[1:], func(ch *channel) (*sftp.File, error) { return ch.OpenFile(f.temp.name, os.O_WRONLY) })
	f.handles, f.via = append(f.handles, more...), append(f.via, via...)
	return nil
}

// learnUmask finds out which permissions new files get on the host. It cannot be asked,
// but a file that was created without any in mind tells. Every file of the copy goes
// through learn before it looks at umask, whichever of them finds out.
func (u *upload) learnUmask(ch *channel, created *sftp.File) {
	info, err := ch.fileInfo(created.Stat)
	if err != nil {
		return
	}
	masked := 0o666 &^ info.Mode().Perm()
	u.umask = masked | masked>>2&0o111 // who may not read may not execute
}

// probeUmask creates a file to learn from, and removes it: the one that is to be copied
// was created by an earlier copy, which may have changed its permissions since.
func (f *uploadFile) probeUmask(ch *channel) {
	probe := f.temps.add(path.Join(path.Dir(f.name), tempName(path.Base(f.name))))
	_ = ch.do(func() error { // what cannot be learned is taken for 022
		file, err := ch.OpenFile(probe.name, os.O_WRONLY|os.O_CREATE|os.O_EXCL)
		if err != nil {
			return err
		}
		f.learnUmask(ch, file)
		return file.Close()
	})
	if f.ended() == nil {
		f.discard(probe)
	}
}

// write sends the blocks from an offset on, many at a time.
func (f *uploadFile) write(ctx context.Context, source *sourceFile, from int64) error {
	size := int64(f.job.blocks.size)
	first := from / size
	blocks := (f.entry.size + size - 1) / size
	var failed atomic.Pointer[error]
	at := int(min(blocks-first, int64(cap(f.inFlight))))
	var next atomic.Int64
	next.Store(first)
	each(ctx, at, at, func(worker int) {
		handle, ch := f.handles[worker%len(f.handles)], f.via[worker%len(f.handles)]
		for failed.Load() == nil {
			i := next.Add(1) - 1
			if i >= blocks {
				return
			}
			if err := f.block(ctx, source, i, ch, handle); err != nil {
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
	return nil
}

// block sends one block. Holes are left out: the file's length is set in the end.
func (f *uploadFile) block(ctx context.Context, source *sourceFile, i int64, ch *channel, handle *sftp.File) (err error) {
	select {
	case f.inFlight <- struct{}{}:
		defer func() { <-f.inFlight }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	b, err := source.block(ctx, i)
	if err != nil {
		return fileError("read", f.entry.path, true, err)
	}
	defer b.release()
	defer func() {
		if err == nil {
			f.temp.written(i)
		}
	}()
	if b.zero {
		f.carried(len(b.data))
		return nil
	}
	// The whole block waits for its turn at once: if its pieces did, blocks would grow side
	// by side, and none would be whole when the copy is broken off.
	if err := f.job.throttle(ctx, len(b.data)); err != nil {
		return err
	}
	off := i * int64(f.job.blocks.size)
	for data := b.data; len(data) > 0; {
		n := min(len(data), int(f.limits.write))
		if err := ch.do(func() error { _, err := handle.WriteAt(data[:n], off); return err }); err != nil {
			return fileError("write", f.name, false, f.explain(err))
		}
		f.carried(n)
		data, off = data[n:], off+int64(n)
	}
	return nil
}

// explain says more about a failure for which the server gives no reason.
func (f *uploadFile) explain(err error) error {
	err = f.reason(err)
	status, ok := errors.AsType[*sftp.StatusError](err)
	if !ok || f.ended() != nil {
		return err
	}
	ch := f.nextChannel()
	var free *sftp.StatVFS
	if ch.do(func() (e error) { free, e = ch.StatVFS(path.Dir(f.name)); return e }) == nil && free != nil && (free.Bavail*free.Bsize < minBlock || free.Files > 0 && free.Favail == 0) {
		return errors.New("no space left on the host")
	}
	return statusError(status)
}

// statusError gives the text of the server alone.
func statusError(e *sftp.StatusError) error {
	return fmt.Errorf("the host refuses: %s", strings.TrimPrefix(e.FxCode().Error(), "ssh_fx_"))
}

// finish gives the temporary file its length, permissions and times, and sees that it is
// on the disk.
func (f *uploadFile) finish(source *sourceFile) error {
	handle, ch := f.handles[0], f.via[0]
	if mode, _ := f.mode(); mode&ownerBits != ownerBits {
		if err := f.chmod(mode); err != nil {
			return err
		}
	}
	opt := &f.job.opt
	if source.sparse {
		if err := ch.do(func() error { return handle.Truncate(f.entry.size) }); err != nil {
			return fileError("write", f.name, false, f.explain(err))
		}
	}
	if _, ok := ch.HasExtension("fsync@openssh.com"); ok && !f.waits {
		if err := ch.do(handle.Sync); err != nil {
			return fileError("write", f.name, false, f.explain(err))
		}
	}
	if err := f.closeHandles(); err != nil {
		return fileError("write", f.name, false, f.explain(err))
	}
	if opt.Preserve {
		if err := ch.do(func() error { return ch.Chtimes(f.temp.name, sftpTime(f.entry.mtime), sftpTime(f.entry.mtime)) }); err != nil {
			return fileError("set the time of", f.name, false, f.reason(err))
		}
	}
	return nil
}

// ownerBits are the permissions without which a file cannot be written on.
const ownerBits = 0o600

func (f *uploadFile) chmod(mode fs.FileMode) error {
	err := f.via[0].do(func() error { return f.handles[0].Chmod(mode) })
	return fileError("set the permissions of", f.name, false, f.reason(err))
}

// mode returns the permissions of the file, and whether they have to be set.
func (f *uploadFile) mode() (fs.FileMode, bool) {
	mode := f.entry.mode.Perm()
	switch {
	case f.job.opt.Preserve:
		return mode | f.entry.mode&fs.ModeSticky, true
	case f.existing != nil && f.existing.Mode().IsRegular():
		mode = f.existing.Mode().Perm()
	default:
		mode &^= f.umask
	}
	return mode, mode != 0o666&^f.umask
}

// publish gives the file its name.
func (f *uploadFile) publish(ctx context.Context) error {
	if f.job.opt.Verify {
		theirs, err := f.hasher.digest(ctx, hashed{f.temp.name, f.entry.size, true})
		if err != nil {
			return fileError("verify", f.name, false, err)
		}
		ours, err := f.job.localDigest(ctx, f.entry, f.entry.size)
		if err != nil {
			return fileError("verify", f.entry.path, true, err)
		}
		if ours != theirs {
			return fileError("verify", f.name, false, errChecksum)
		}
	}
	f.keepOwner()
	if err := f.rename(f.temp.name, f.name); err != nil {
		return fileError("rename to", f.name, false, f.explain(err))
	}
	f.temps.remove(f.temp)
	return nil
}

// errChecksum is why a file was not given its name.
var errChecksum = errors.New("the checksums differ")

// keepOwner gives the file the owner of the one that it replaces, where that is another
// and the host lets us: root that replaces a user's file does not take it away.
func (f *uploadFile) keepOwner() {
	if f.existing == nil {
		return
	}
	old, ok := f.existing.Sys().(*sftp.FileStat)
	if !ok {
		return
	}
	ch := f.nextChannel()
	_ = f.reason(ch.do(func() error {
		info, err := ch.Stat(f.temp.name)
		if err != nil {
			return err
		}
		if now, ok := info.Sys().(*sftp.FileStat); ok && (now.UID != old.UID || now.GID != old.GID) {
			return ch.Chown(f.temp.name, int(old.UID), int(old.GID))
		}
		return nil
	}))
}

// rename puts a file in the place of another, at once where the server can.
func (s *session) rename(from, to string) error {
	ch := s.nextChannel()
	return s.reason(ch.do(func() error {
		if _, ok := ch.HasExtension("posix-rename@openssh.com"); ok {
			return ch.PosixRename(from, to)
		}
		err := ch.Rename(from, to)
		if err != nil && ch.Remove(to) == nil {
			err = ch.Rename(from, to)
		}
		return err
	}))
}

func (f *uploadFile) closeHandles() error {
	err := closeAll(f.handles, f.via)
	f.handles = nil
	return err
}
