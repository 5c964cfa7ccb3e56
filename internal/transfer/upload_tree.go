package transfer

import (
	"context"
	"errors"
	"io/fs"
	"path"
)

// link makes a symbolic link. It replaces whatever has its name, except a directory.
func (u *upload) link(ctx context.Context, e *entry, name string, existing fs.FileInfo) {
	if existing != nil && existing.IsDir() {
		u.failed(name, fileError("replace", name, false, errors.New("there is something else: "+kindOf(existing.Mode()))))
		return
	}
	ch := u.nextChannel()
	if existing != nil && existing.Mode().Type() == fs.ModeSymlink {
		var target string
		if err := ch.do(func() (err error) { target, err = ch.ReadLink(name); return err }); err == nil && target == e.link {
			u.skipped(name, 0)
			return
		}
	}
	p := u.begin(name, 0)
	t := u.temps.add(path.Join(path.Dir(name), tempName(path.Base(name))))
	err := u.reason(ch.do(func() error { return ch.Symlink(e.link, t.name) }))
	if err == nil {
		if err = u.rename(t.name, name); err != nil {
			u.discard(t)
		}
	}
	if err == nil || u.ended() == nil {
		u.temps.remove(t)
	}
	p.end(fileError("link", name, false, err))
}

// deleteExtra removes what the directories of the host contained and the tree does not.
func (u *upload) deleteExtra(ctx context.Context, entries []entry, inside map[string]*remoteDir, top string) {
	wanted := make(map[string]bool, len(entries))
	for i := range entries {
		wanted[entries[i].name] = true
	}
	linked := func(name string) bool {
		for ; name != ""; name = parentName(name) {
			if above := inside[parentName(name)]; above != nil {
				if info := above.existing[path.Base(name)]; info != nil && info.Mode().Type() == fs.ModeSymlink {
					return true
				}
			}
		}
		return false
	}
	for dir, was := range inside {
		if linked(dir) {
			continue // never delete through a symbolic link: others may use its target
		}
		for _, info := range was.entries {
			name := joinName(dir, info.Name())
			if ctx.Err() != nil || u.ended() != nil {
				return
			}
			if !wanted[name] && safeName(info.Name()) {
				u.remove(ctx, path.Join(top, name), info, 0)
			}
		}
	}
}

// remove removes a file or directory of the host with its content.
func (u *upload) remove(ctx context.Context, name string, info fs.FileInfo, depth int) {
	ch := u.nextChannel()
	if depth > maxDepth {
		u.failed(name, fileError("list", name, false, errTooDeep))
		return
	}
	if info.IsDir() {
		var list []fs.FileInfo
		err := ch.list(func() (err error) { list, err = ch.ReadDir(name); return err })
		if err = u.reason(err); err != nil {
			u.failed(name, fileError("list", name, false, err))
			return
		}
		here := amount{names: len(list)}
		if err = u.listing.reserve(here); err != nil {
			u.session.fail(fileError("list", name, false, err))
			return
		}
		defer u.listing.release(here)
		for _, inner := range list {
			if ctx.Err() != nil || u.ended() != nil {
				return
			}
			if safeName(inner.Name()) {
				u.remove(ctx, path.Join(name, inner.Name()), inner, depth+1)
			}
		}
	}
	err := ch.do(func() error {
		if info.IsDir() {
			return ch.RemoveDirectory(name)
		}
		return ch.Remove(name)
	})
	if err = u.reason(err); err != nil {
		if !errors.Is(err, fs.ErrNotExist) { // a partial file that the copy has resumed is gone
			u.failed(name, fileError("remove", name, false, err))
		}
		return
	}
	u.deleted()
}
