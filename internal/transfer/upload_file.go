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

// file copies one file. existing is the file of that name on the host, siblings the content of its
// directory, where Resume looks for partial files. Either may be nil.
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

// kindOf names the type of something that is not a regular file, with its article.
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
	return "something of unknown type"
}

// same reports whether the host has the file already: with the same size and either the same time,
// to the second, or the same checksum.
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
	waits    bool // for a common sync before it gets its name

	temp    *temp
	handles []*sftp.File
	via     []*channel // the channel of each handle
}

// copy writes the file under a temporary name. When it is complete, it gets its own name, unless it
// waits for a sync first.
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
		_ = f.closeHandles() // open only after a failure, and that is what gets reported
		if err != nil && f.ended() == nil && ctx.Err() == nil {
			f.discard(f.temp)
		}
	}()
	if err := f.open(from > 0); err != nil {
		return fileError("create", f.name, false, explainPermission(err, path.Dir(f.name), f.existing))
	}
	if from > 0 {
		// The rest may be of another file, and it would show through holes, which are not written.
		if err := f.via[0].do(func() error { return f.handles[0].Truncate(from) }); err != nil {
			return fileError("resume", f.name, false, f.reason(err))
		}
	}
	// Before any content is written, since a private file must stay private during the copy. The
	// owner bits let a later copy resume it.
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

// claim takes over the partial file of an earlier copy, and returns how many bytes of it can be kept.
func (f *uploadFile) claim(ctx context.Context, siblings []fs.FileInfo) (int64, error) {
	best := largestLeftover(siblings, path.Base(f.name), f.entry.size)
	if !f.job.opt.Resume || best == nil {
		return 0, nil
	}
	old := path.Join(path.Dir(f.name), best.Name())
	ch := f.nextChannel()
	if err := ch.do(func() error { return ch.Rename(old, f.temp.name) }); err != nil {
		return 0, onlyFatal(f.reason(err), f.session) // another copy has taken it
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

// removeTemp removes a partial file that does not match, so that the copy can start from the beginning.
func (f *uploadFile) removeTemp() error {
	ch := f.nextChannel()
	err := f.reason(ch.do(func() error { return ch.Remove(f.temp.name) }))
	if err == nil {
		f.temp.setLeftover(false)
	}
	return err
}

// onlyFatal returns err if the session has failed, and nil otherwise.
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

// learnUmask finds the umask of the host. SFTP cannot ask for it, but the permissions of a new file
// show it. Every file goes through f.learn before it reads umask.
func (u *upload) learnUmask(ch *channel, created *sftp.File) {
	info, err := ch.fileInfo(created.Stat)
	if err != nil {
		return
	}
	masked := 0o666 &^ info.Mode().Perm()
	u.umask = masked | masked>>2&0o111 // x is never set on a new file: assume it goes with r
}

// probeUmask learns the umask from a file that it creates and removes. The file to be copied is
// useless for that: an earlier copy created it and may have changed its permissions.
func (f *uploadFile) probeUmask(ch *channel) {
	probe := f.temps.add(path.Join(path.Dir(f.name), tempName(path.Base(f.name))))
	_ = ch.do(func() error { // ignored: the umask then stays 022
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

// write sends the blocks from an offset on, many at once.
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

// block sends one block. Holes are not sent: finish sets the length of the file.
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
	// The rate limit is taken for the whole block. If it were taken for each piece, all blocks would
	// grow together, and an interrupted copy would have no complete one to resume from.
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

// explain adds a reason to a failure for which the server gives none, such as a full disk.
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

// statusError returns the server's text without the codes of the protocol.
func statusError(e *sftp.StatusError) error {
	return fmt.Errorf("the host refuses: %s", strings.TrimPrefix(e.FxCode().Error(), "ssh_fx_"))
}

// finish sets the length, permissions and times of the temporary file and syncs it, unless it waits
// for a common sync.
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

// ownerBits are the permissions that a later copy needs to resume a file.
const ownerBits = 0o600

func (f *uploadFile) chmod(mode fs.FileMode) error {
	err := f.via[0].do(func() error { return f.handles[0].Chmod(mode) })
	return fileError("set the permissions of", f.name, false, f.reason(err))
}

// mode returns the permissions that the file is to have, and whether they have to be set.
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

var errChecksum = errors.New("the checksums differ")

// keepOwner gives the file the owner of the file that it replaces, if that differs and the account may
// do so: when root replaces a user's file, the user keeps it.
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

// rename renames a file over another one, atomically if the server can.
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
