package transfer

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"

	"fleetssh/internal/shellquote"
)

// scpDirsScript gives directories their permissions and times, and says for each how it
// went.
const scpDirsScript = `while [ $# -gt 2 ]; do
if TZ=UTC0 touch -t "$3" -- "$1" && chmod -- "$2" "$1"; then echo ok; else echo failed; fi 2>/dev/null
shift 3
done`

// finishDirs gives the directories of a tree what Preserve promises, the deepest first. That
// scp has done so counts for nothing: files got their names since.
func (u *scpUpload) finishDirs(ctx context.Context, top string) error {
	dirs := u.dirs
	u.dirs = nil
	for len(dirs) > 0 && u.job.opt.Preserve && ctx.Err() == nil {
		words := []string{"sh", "-c", scpDirsScript, "sh"}
		var names []string
		for size := 0; len(dirs) > 0 && len(names) < mostHashed && size < mostHashLine; {
			e := dirs[len(dirs)-1]
			dirs = dirs[:len(dirs)-1]
			name := path.Join(top, e.name)
			record := recordOf(e, name)
			words = append(words, absolute(name), fmt.Sprintf("%04o", record.Mode.Perm()|record.Mode>>11&0o1000), record.ModTime.UTC().Format("200601021504.05"))
			names, size = append(names, name), size+len(name)
		}
		out, err := u.host.command(ctx, question{shellquote.Join(words...), int64(len(names)) * 16, u.job.opt.Stall})
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
