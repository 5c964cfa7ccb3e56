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

// scpUpload is a copy to one host by SCP. The protocol can neither list nor rename: small
// commands do that before and behind it.
type scpUpload struct {
	*record
	job    *Job
	host   *Host
	hasher *hasher
	source *scp.Source
	ready  []scpArrival    // what is to get its name
	temps  map[string]bool // what is there under a temporary name
	dirs   []*entry        // that have begun
}

// scpArrival is a file, or a link, on the host that has to get its name.
type scpArrival struct {
	*progress
	temp, name string
	entry      *entry
}

// uploadSCP copies trees to a host.
func (j *Job) uploadSCP(ctx context.Context, host *Host, trees []*tree, dest string, report func(Progress)) (Result, error) {
	u := &scpUpload{record: &record{report: report}, temps: make(map[string]bool), job: j, host: host, hasher: &hasher{host: host, stall: j.opt.Stall}}
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
	for _, a := range u.ready { // they did not get their names
		a.end(fileError("rename to", a.name, false, cmpError(err, ErrLost)))
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

// topScript makes the directories above a destination, and says whether it is one itself,
// or a link to a file, and to which: it is followed, as scp does.
const topScript = `[ "$1" = into ] && { mkdir -p -- "$2" && echo dir; exit; }
[ -d "$2" ] && { echo dir; exit; }
mkdir -p -- "$3" || exit
echo file
[ -h "$2" ] && [ -f "$2" ] && readlink -f -- "$2"
exit 0`

// tops returns where each tree goes, as upload.tops does.
func (u *scpUpload) tops(ctx context.Context, trees []*tree, dest string) ([]string, error) {
	name, err := homePath(dest)
	if err != nil {
		return nil, &Error{Op: "open", Path: dest, Err: err}
	}
	how := "as"
	if strings.HasSuffix(dest, "/") || len(trees) > 1 || dest == "" || dest == "~" || trees[0].base == "" {
		how = "into"
	}
	line := shellquote.Join("sh", "-c", topScript, "sh", how, absolute(name), absolute(path.Dir(name)))
	out, err := u.host.command(ctx, question{line, 8192, u.job.opt.Stall})
	if err != nil {
		if u.host.Broken() || ctx.Err() != nil || errors.Is(err, ErrStalled) {
			return nil, err
		}
		return nil, fileError("create", dest, false, withWords(err, out))
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
	// Hosts that allow one session have room for the next when this one has ended. What
	// its exit code says is known.
	if err := guard.Wait(); errors.Is(err, ErrLost) {
		return guard.reason(err)
	}
	guard.stop()
	if err := u.publish(ctx); err != nil {
		return err
	}
	return u.finishDirs(ctx, top)
}

// send sends the entries of a tree: a directory ends where the next entry is not below it.
func (u *scpUpload) send(ctx context.Context, t *tree, top string) {
	var open []string // directories that have begun; or that have not, see refused
	refused := ""     // nothing below it is sent
	for i := range t.entries {
		e := &t.entries[i]
		if ctx.Err() != nil || u.source.Broken() != nil {
			return
		}
		for len(open) > 0 && !below(e.name, open[len(open)-1]) {
			open = open[:len(open)-1]
			u.note(top, u.source.EndDir())
		}
		if refused != "" && below(e.name, refused) {
			u.failed(path.Join(top, e.name), fileError("create", path.Join(top, e.name), false, errNoDir))
			continue
		}
		name := path.Join(top, e.name)
		switch {
		case e.mode.IsDir() && e.name == "" && t.base == "":
			// Its content goes to a directory that is there.
			u.dirs = append(u.dirs, e)
		case e.mode.IsDir():
			record := recordOf(e, path.Base(name))
			if u.job.opt.Preserve { // finishDirs sets them: until then files get their names in it
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
			u.ready = append(u.ready, scpArrival{u.begin(name, 0), temp, name, e})
		}
	}
	for range open {
		u.note(top, u.source.EndDir())
	}
}

// note notes what was wrong with a directory.
func (u *scpUpload) note(name string, err error) {
	if err != nil && u.source.Broken() == nil {
		u.failed(name, fileError("set the permissions of", name, false, err))
	}
}

// below reports whether an entry is in a directory of the tree.
func below(name, dir string) bool { return dir == "" || strings.HasPrefix(name, dir+"/") }

func recordOf(e *entry, name string) scp.Record {
	return scp.Record{Name: name, Mode: e.mode.Perm() | e.mode&fs.ModeSticky, Size: e.size, ModTime: e.mtime}
}

// file sends one file under a temporary name.
func (u *scpUpload) file(ctx context.Context, e *entry, name string) {
	p := u.begin(name, e.size)
	source, err := u.job.store.open(ctx, e)
	if err != nil {
		p.end(fileError("read", e.path, true, err))
		return
	}
	defer source.leave()
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
			u.remove(ctx, []string{temp}) // now: what follows may need the room
		}
		return
	}
	u.ready = append(u.ready, scpArrival{p, temp, name, e})
}

// blockReader reads a local file in shared blocks.
type blockReader struct {
	ctx      context.Context
	file     *sourceFile
	progress *progress
	job      *Job
	off      int64
}

func (r *blockReader) Read(p []byte) (int, error) {
	size := int64(r.file.store.size)
	if r.off >= r.file.entry.size {
		return 0, io.EOF
	}
	b, err := r.file.block(r.ctx, r.off/size)
	if err != nil {
		return 0, err
	}
	defer b.release()
	n := copy(p, b.data[r.off%size:])
	if err := r.job.pace(r.ctx, n); err != nil {
		return 0, err
	}
	r.off += int64(n)
	r.progress.carried(n)
	return n, nil
}

// renameScript gives files their names, and makes links: it says for each how it went. A file
// that is replaced passes on its owner, where that may be, and, unless they come from the
// source, its permissions.
const renameScript = `umask 022
preserve=$1
shift
while [ $# -gt 2 ]; do
if [ -f "$2" ] && [ ! -h "$2" ] && [ -z "$3" ]; then
	old=$(stat -c "%a %u:%g" -- "$2" || stat -f "%Lp %u:%g" -- "$2")
	new=$(stat -c "%a %u:%g" -- "$1" || stat -f "%Lp %u:%g" -- "$1")
	mode=${new% *}
	[ "$preserve" ] || mode=${old% *}
	if [ "$old" ] && [ "$new" ] && [ "$old" != "$new" ]; then
		[ "${old#* }" = "${new#* }" ] || chown -- "${old#* }" "$1"
		chmod -- "$mode" "$1"
	fi
fi 2>/dev/null
if [ -e "$2" ] && [ ! -f "$2" ] && [ ! -h "$2" ]; then echo "there is something else: not a regular file"
elif { [ -z "$3" ] || ln -s -- "$3" "$1"; } && mv -f -- "$1" "$2"; then echo ok
else echo "the host cannot give it its name"; fi 2>/dev/null
shift 3
done`

// publish gives what has arrived its name.
func (u *scpUpload) publish(ctx context.Context) error {
	ready := u.ready
	defer func() { u.ready = ready }()
	if len(ready) > 0 {
		// Not every host can sync one file system, or say that it cannot.
		const script = `[ "$(uname -s)" = Linux ] && sync -f "$1" || sync`
		_, _ = u.host.command(ctx, question{shellquote.Join("sh", "-c", script, "sh", absolute(path.Dir(ready[0].name))), 1024, u.job.opt.Stall})
	}
	for len(ready) > 0 && ctx.Err() == nil {
		preserve := ""
		if u.job.opt.Preserve {
			preserve = "preserve"
		}
		words := []string{"sh", "-c", renameScript, "sh", preserve}
		n, size := 0, 0
		for n < len(ready) && n < mostHashed && size < mostHashLine {
			a := &ready[n]
			words = append(words, absolute(a.temp), absolute(a.name), a.entry.link)
			size += len(a.temp) + len(a.name) + len(a.entry.link)
			n++
		}
		batch := ready[:n]
		differ := make([]error, n)
		if u.job.opt.Verify {
			each(ctx, 32, n, func(i int) {
				if differ[i] = u.verify(ctx, &batch[i]); differ[i] != nil {
					words[5+3*i] = "" // there is no such file to be renamed
				}
			})
		}
		out, err := u.host.command(ctx, question{shellquote.Join(words...), int64(n) * 256, u.job.opt.Stall})
		if err != nil {
			return fileError("rename to", batch[0].name, false, err)
		}
		lines := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
		for i := range batch {
			err := differ[i]
			switch {
			case err != nil:
			case i >= len(lines) || lines[i] == "":
				err = fileError("rename to", batch[i].name, false, errors.New("the host does not say whether it has"))
			case lines[i] != "ok":
				err = fileError("rename to", batch[i].name, false, errors.New(strings.TrimSpace(lines[i])))
			default:
				delete(u.temps, batch[i].temp)
			}
			batch[i].end(err)
		}
		ready = ready[n:]
	}
	return nil
}

func (u *scpUpload) verify(ctx context.Context, a *scpArrival) error {
	if a.entry.link != "" {
		return nil
	}
	theirs, err := u.hasher.digest(ctx, hashed{a.temp, a.entry.size, true})
	if err != nil {
		return fileError("verify", a.name, false, err)
	}
	ours, err := u.job.localDigest(ctx, a.entry, a.entry.size)
	if err == nil && ours != theirs {
		err = errDiffers
	}
	return fileError("verify", a.name, false, err)
}

// cleanUp removes what did not get its name.
func (u *scpUpload) cleanUp(ctx context.Context) {
	if u.host.Broken() {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUpLimit)
	defer cancel()
	for temps := slices.Sorted(maps.Keys(u.temps)); len(temps) > 0 && ctx.Err() == nil; {
		n, size := 0, 0
		for n < len(temps) && n < mostHashed && size < mostHashLine {
			size += len(temps[n])
			n++
		}
		u.remove(ctx, temps[:n])
		temps = temps[n:]
	}
}

// remove removes temporary files.
func (u *scpUpload) remove(ctx context.Context, temps []string) {
	words := []string{"rm", "-f", "--"}
	for _, temp := range temps {
		words = append(words, absolute(temp))
	}
	_, _ = u.host.command(ctx, question{shellquote.Join(words...), 1024, cleanUpLimit}) // cleanUp tries again; what cannot be removed stays
}
