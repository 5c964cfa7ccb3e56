package simfleet

import (
	"bufio"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strconv"
	"strings"
	"syscall"
)

// compareProgram begins the program with which package compare asks for files. The simulated shell cannot
// parse it, so it is recognised as a whole.
const compareProgram = ": compare-files; "

// compareFiles does what that program does. args are its arguments.
func (p *process) compareFiles(args []string) Status {
	if len(args) != 3 {
		return p.fail(2, "compare-files: want three arguments")
	}
	dest, into, what := args[0], args[1] != "", args[2]
	f := p.files()
	if info, err := f.stat(dest, true); err == nil && info.IsDir() {
		into = true
	}
	most, err := strconv.Atoi(what)
	content := err == nil
	if !content {
		p.println(p.stdout, map[bool]string{true: "into", false: "as"}[into])
	}
	lines := bufio.NewScanner(p.stdin)
	var some []string // paths of a hundred
	for lines.Scan() {
		name := lines.Text()
		full := path.Join(dest, name)
		if !into {
			_, below, _ := strings.Cut(name, "/")
			full = path.Join(dest, below)
		}
		if content {
			opened, err := f.open(full)
			if err != nil {
				return p.cannot("open", full, err)
			}
			io.Copy(p.stdout, io.LimitReader(opened, int64(most)))
			return Status{}
		}
		if some = append(some, full); len(some) == 100 {
			p.lookAtAll(f, some, what == "owners")
			some = nil
		}
	}
	return p.lookAtAll(f, some, what == "owners")
}

// lookAtAll describes what is at paths: kinds, then sums, then owners.
func (p *process) lookAtAll(f *files, names []string, owners bool) Status {
	var sums, attributes []string
	for _, name := range names {
		line, sum, attribute := p.lookAt(f, name)
		if status := p.println(p.stdout, line); status.Code != 0 {
			return status
		}
		if sum != "" {
			sums = append(sums, sum)
		}
		if attribute != "" && owners {
			attributes = append(attributes, attribute)
		}
	}
	for _, line := range append(sums, attributes...) {
		if status := p.println(p.stdout, line); status.Code != 0 {
			return status
		}
	}
	return Status{}
}

// lookAt describes what is at a path; files also have a sum, and files and directories owners.
func (p *process) lookAt(f *files, name string) (line, sum, owners string) {
	info, err := f.stat(name, false)
	switch {
	case errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ENOTDIR):
		return "-", "", ""
	case err != nil:
		return "u", "", ""
	}
	user, id := p.shell.user, 1000
	if user == "root" {
		id = 0
	}
	owners = fmt.Sprintf("%s %s %s %d %d", info.Mode(), user, user, id, id)
	switch {
	case info.IsDir():
		return "d", "", owners
	case info.Mode()&fs.ModeSymlink != 0:
		full, err := f.path(name)
		if err != nil {
			return "u", "", ""
		}
		target, err := f.readlink(full)
		if err != nil {
			return "u", "", ""
		}
		return "l " + target, "", ""
	}
	opened, err := f.open(name)
	if err != nil {
		return "u", "", ""
	}
	h := sha256.New()
	if _, err := io.Copy(h, opened); err != nil {
		return "f", "u", owners
	}
	return "f", fmt.Sprintf("%x", h.Sum(nil)), owners
}
