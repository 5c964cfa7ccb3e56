package transfer

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"
)

// finishDirs sets the permissions and times of directories, the deepest first, if they are
// preserved. The scp program on the host has set them before, but renaming the files changed the
// times again.
func (u *scpUpload) finishDirs(ctx context.Context, top string) error {
	dirs := u.dirs
	u.dirs = nil
	for len(dirs) > 0 && u.job.opt.Preserve && ctx.Err() == nil {
		n := fitOnLine(len(dirs), func(i int) int { return len(top) + len(dirs[len(dirs)-1-i].name) })
		var args, names []string
		for range n {
			e := dirs[len(dirs)-1]
			dirs = dirs[:len(dirs)-1]
			name := path.Join(top, e.name)
			record := recordOf(e, name)
			mode := fmt.Sprintf("%04o", record.Mode.Perm()|record.Mode>>11&0o1000)
			names = append(names, name)
			args = append(args, absolute(name), mode, record.ModTime.UTC().Format("200601021504.05"))
		}
		out, err := u.host.command(ctx, shortCommand{programLine(scpDirsProgram, args...), int64(n) * 16, u.job.opt.Stall})
		if err != nil {
			return fileError("set the permissions of", names[0], false, err)
		}
		lines := strings.Split(string(out), "\n")
		for i, name := range names {
			if i >= len(lines) || lines[i] != "ok" {
				u.failed(name, fileError("set the permissions of", name, false, errors.New("the host refuses")))
			}
		}
	}
	return nil
}
