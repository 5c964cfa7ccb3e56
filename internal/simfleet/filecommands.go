package simfleet

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"syscall"
)

// lookupFileCommand returns a command that works on the files of the host, or nil.
func lookupFileCommand(name string) func(*process) Status {
	switch name {
	case "ls":
		return list
	case "rm":
		return remove
	case "mkdir":
		return makeDirectory
	case "mv":
		return move
	case "sha256sum":
		return sum
	case "scp":
		return secureCopy
	}
	return nil
}

// files returns the disk as seen from the shell's working directory.
func (p *process) files() *files { return p.shell.session.files(p.shell.vars["PWD"]) }

// split separates the options from the other arguments. Only the given letters are valid options.
func (p *process) split(letters string) (options string, rest []string, ok bool) {
	rest = p.args[1:]
	for len(rest) > 0 && len(rest[0]) > 1 && rest[0][0] == '-' {
		option := rest[0][1:]
		rest = rest[1:]
		if option == "-" {
			break
		}
		if strings.Trim(option, letters) != "" {
			p.fail(1, "invalid option -- '%s'", option)
			return "", nil, false
		}
		options += option
	}
	return options, rest, true
}

// cannot reports that an action on a file has failed.
func (p *process) cannot(do, name string, err error) Status {
	return p.fail(1, "cannot %s '%s': %s", do, name, errorText(err))
}

// list is ls [-1ald] [FILE…].
func list(p *process) Status {
	options, names, ok := p.split("1ald")
	if !ok {
		return Status{Code: 2}
	}
	if len(names) == 0 {
		names = []string{"."}
	}
	f, status := p.files(), Status{}
	for _, name := range names {
		info, err := f.stat(name, !strings.Contains(options, "l"))
		var infos []*fileInfo
		if err == nil && info.IsDir() && !strings.Contains(options, "d") {
			infos, err = f.list(name)
		} else if err == nil {
			info.name = name
			infos = []*fileInfo{info}
		}
		if err != nil {
			p.cannot("access", name, err)
			status = Status{Code: 2}
			continue
		}
		for _, info := range infos {
			if strings.HasPrefix(info.name, ".") && info.name != name && !strings.Contains(options, "a") {
				continue
			}
			line := info.name
			if strings.Contains(options, "l") {
				line = fmt.Sprintf("%v 1 %s %s %d %s %s", info.mode, p.shell.user, p.shell.user, info.size, info.modified.UTC().Format("Jan _2 15:04"), info.name)
			}
			if p.println(p.stdout, line).Code != 0 {
				return Status{Code: 141}
			}
		}
	}
	return status
}

// remove is rm [-rf] FILE….
func remove(p *process) Status {
	options, names, ok := p.split("rf")
	if !ok {
		return Status{Code: 1}
	}
	f, status := p.files(), Status{}
	for _, name := range names {
		err := f.each(name, f.disk.remove)
		if err == syscall.EISDIR && strings.Contains(options, "r") {
			err = f.removeAll(name)
		}
		if err != nil && (err != syscall.ENOENT || !strings.Contains(options, "f")) {
			status = p.cannot("remove", name, err)
		}
	}
	return status
}

// removeAll removes a directory and everything in it.
func (f *files) removeAll(name string) error {
	infos, err := f.list(name)
	for _, info := range infos {
		child := path.Join(name, info.name)
		if info.IsDir() {
			err = errors.Join(err, f.removeAll(child))
		} else {
			err = errors.Join(err, f.each(child, f.disk.remove))
		}
	}
	if err != nil {
		return err
	}
	return f.each(name, f.rmdir)
}

// makeDirectory is mkdir [-p] DIRECTORY….
func makeDirectory(p *process) Status {
	options, names, ok := p.split("p")
	if !ok {
		return Status{Code: 1}
	}
	f, status := p.files(), Status{}
	for _, name := range names {
		err := f.each(name, func(name string) error {
			if strings.Contains(options, "p") {
				return f.mkdirAll(name)
			}
			return f.disk.mkdir(name, 0o755)
		})
		if err != nil {
			status = p.fail(1, "cannot create directory '%s': %s", name, errorText(err))
		}
	}
	return status
}

// move is mv [-f] FROM… TO.
func move(p *process) Status {
	_, names, ok := p.split("fT")
	if !ok || len(names) < 2 {
		return p.fail(1, "missing file operand")
	}
	f, status := p.files(), Status{}
	target := names[len(names)-1]
	info, err := f.stat(target, true)
	inside := err == nil && info.IsDir()
	if !inside && len(names) > 2 {
		return p.fail(1, "target '%s' is not a directory", target)
	}
	for _, name := range names[:len(names)-1] {
		to := target
		if inside {
			to = path.Join(target, path.Base(name))
		}
		if err := f.both(name, to, f.rename); err != nil {
			status = p.fail(1, "cannot move '%s' to '%s': %s", name, to, errorText(err))
		}
	}
	return status
}

// sum is sha256sum [FILE…].
func sum(p *process) Status {
	_, names, ok := p.split("b")
	if !ok {
		return Status{Code: 1}
	}
	return p.inputs(names, func(name string, in io.Reader) error {
		hash := sha256.New()
		if _, err := io.Copy(hash, in); err != nil {
			return err
		}
		p.println(p.stdout, fmt.Sprintf("%x  %s", hash.Sum(nil), name))
		return nil
	})
}

// inputs calls f with each named file. "-" means stdin, and so does no name at all.
func (p *process) inputs(names []string, f func(name string, in io.Reader) error) Status {
	if len(names) == 0 {
		names = []string{"-"}
	}
	status := Status{}
	for _, name := range names {
		var err error
		if name == "-" {
			err = f(name, p.stdin)
		} else {
			var opened *file
			if opened, err = p.files().open(name); err == nil {
				err = f(name, opened)
			}
		}
		if err != nil {
			status = p.fail(1, "%s: %s", name, errorText(err))
		}
	}
	return status
}

// openRedirect opens the target of a redirection for writing.
func (p *process) openRedirect(operator, name string) (io.Writer, error) {
	f := p.files()
	if operator == ">" {
		return f.create(name, 0o644)
	}
	opened, err := f.openMode(name, 0o644)
	if err == nil {
		opened.offset = opened.end()
	}
	return opened, err
}
