package simfleet

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"

	"fleetssh/internal/scp"
)

// copying is one scp -t or scp -f of a host.
type copying struct {
	*process
	files     *files
	to        bool // -t: the host receives
	recursive bool // -r
	preserve  bool // -p
	directory bool // -d
	failed    bool // the exit status will be 1
}

// secureCopy is scp -t [-rpd] TARGET and scp -f [-rp] SOURCE…, as clients start them.
func secureCopy(p *process) Status {
	c := &copying{process: p, files: p.files()}
	fault := c.files.session.conn.fault.Kind
	if fault == NoSCP {
		fmt.Fprintf(p.stderr, "sh: 1: %s: not found\n", p.args[0])
		return Status{Code: 127}
	}
	paths, ok := c.options(p.args[1:])
	if !ok || c.to && len(paths) != 1 || len(paths) == 0 {
		return p.fail(1, "ambiguous target")
	}
	switch {
	case c.to:
		c.receive(paths[0])
	case fault == HostileNames || fault == LongNames || fault == EndlessListing || fault == WrongSize:
		c.deceive(paths)
	default:
		c.send(paths)
	}
	if c.failed {
		return Status{Code: 1}
	}
	return Status{}
}

// options parses the options and returns the paths.
func (c *copying) options(args []string) (paths []string, ok bool) {
	from := false
	for len(args) > 0 && strings.HasPrefix(args[0], "-") {
		letters := args[0][1:]
		args = args[1:]
		if letters == "-" {
			break
		}
		for _, letter := range letters {
			switch letter {
			case 't':
				c.to = true
			case 'f':
				from = true
			case 'r':
				c.recursive = true
			case 'p':
				c.preserve = true
			case 'd':
				c.directory = true
			case 'v', 'q':
			default:
				return nil, false
			}
		}
	}
	return args, c.to != from
}

// receive writes what the client sends.
func (c *copying) receive(target string) {
	info, err := c.files.stat(target, true)
	inside := err == nil && info.IsDir()
	if c.directory && !inside {
		fmt.Fprintf(c.stdout, "\x01scp: %s: %s\n", target, errorText(orElse(err, errors.New("not a directory"))))
		c.failed = true
		return
	}
	sink := scp.NewSink(c.stdout, c.stdin)
	var open []scp.Record // the directories that are open, with the whole path as Name
	for {
		r, err := sink.Next()
		switch {
		case err == io.EOF:
			return
		case sink.Broken() != nil:
			fmt.Fprintf(c.stdout, "\x01scp: protocol error: %v\n", err)
			c.failed = true
			return
		case err != nil:
			c.failed = true
			continue
		}
		if r.Kind == scp.EndDir {
			last := open[len(open)-1]
			open = open[:len(open)-1]
			c.refuse(sink, last.Name, c.finish(last))
			continue
		}
		switch {
		case len(open) > 0:
			r.Name = path.Join(open[len(open)-1].Name, r.Name)
		case inside:
			r.Name = path.Join(target, r.Name)
		default:
			r.Name = target
		}
		if r.Kind == scp.File {
			c.refuse(sink, r.Name, c.receiveFile(sink, r))
			continue
		}
		if err := c.receiveDir(r); err != nil {
			c.refuse(sink, r.Name, err)
			continue
		}
		open = append(open, r)
	}
}

// refuse sends the error to the client, if there is one.
func (c *copying) refuse(sink *scp.Sink, name string, err error) {
	if err != nil {
		c.failed = true
		sink.Refuse(name + ": " + errorText(err))
	}
}

func (c *copying) receiveDir(r scp.Record) error {
	if !c.recursive {
		return errors.New("received directory without -r")
	}
	if info, err := c.files.stat(r.Name, true); err == nil {
		if !info.IsDir() {
			return errors.New("not a directory")
		}
		return nil
	}
	return c.files.mkdir(r.Name, r.Mode|0o700)
}

func (c *copying) receiveFile(sink *scp.Sink, r scp.Record) error {
	f, err := c.files.create(r.Name, r.Mode)
	if err != nil {
		return err
	}
	if _, err := sink.WriteTo(f); err != nil {
		return err
	}
	return c.finish(r)
}

// finish sets the times, and with -p the mode, after the content has been written.
func (c *copying) finish(r scp.Record) error {
	a := attributes{modified: r.ModTime, access: r.AccessTime}
	if c.preserve {
		a.mode = &r.Mode
	}
	return c.files.set(r.Name, a)
}

// send sends files to the client.
func (c *copying) send(paths []string) {
	s := scp.NewSource(c.stdout, c.stdin)
	for _, name := range paths {
		info, err := c.files.stat(name, true)
		if err == nil && info.IsDir() && !c.recursive {
			err = errors.New("not a regular file")
		}
		if err == nil {
			info.name = path.Base(name)
			err = c.sendTree(s, name, info)
		}
		c.warn(s, name, err)
		if s.Broken() != nil {
			return
		}
	}
}

// warn tells the client what could not be sent, unless the error came from the client.
func (c *copying) warn(s *scp.Source, name string, err error) {
	if err == nil {
		return
	}
	c.failed = true
	if s.Broken() == nil && !errors.As(err, new(*scp.Warning)) && !errors.As(err, new(*scp.ContentError)) {
		s.Warn(name + ": " + errorText(err))
	}
}

// sendTree sends a file, or a directory and everything in it.
func (c *copying) sendTree(s *scp.Source, name string, info *fileInfo) error {
	r := scp.Record{Name: info.name, Mode: info.mode, Size: info.size}
	if c.preserve {
		r.ModTime, r.AccessTime = info.modified, info.access
	}
	if !info.IsDir() {
		f, err := c.files.open(name)
		if err != nil {
			return err
		}
		return s.File(r, f)
	}
	infos, err := c.files.list(name)
	if err != nil {
		return err
	}
	if err := s.Dir(r); err != nil {
		return err
	}
	for _, child := range infos {
		childName := path.Join(name, child.name)
		if child.mode&fs.ModeSymlink != 0 {
			// scp follows links.
			if target, err := c.files.stat(childName, true); err == nil {
				target.name = child.name
				child = target
			}
		}
		c.warn(s, childName, c.sendTree(s, childName, child))
		if err := s.Broken(); err != nil {
			return err
		}
	}
	return s.EndDir()
}

// deceive sends what an honest source never sends, until the client ends the copy.
func (c *copying) deceive(paths []string) {
	c.failed = true
	if !c.answered() {
		return
	}
	switch c.files.session.conn.fault.Kind {
	case HostileNames:
		for _, name := range hostileNames {
			c.tell(fmt.Sprintf("C0644 %d %s\n", len(hostileContent), name), hostileContent+"\x00")
		}
	case LongNames:
		c.tell("C0644 5 ")
		for block := strings.Repeat("x", 32<<10); c.tell(block); {
		}
	case EndlessListing:
		c.tell("D0755 0 endless\n")
		for i := int64(0); c.answered() && c.tell(fmt.Sprintf("C0644 0 %s\n", endlessName(i))) && c.answered() && c.tell("\x00"); i++ {
		}
	case WrongSize:
		for _, name := range paths {
			info, err := c.files.stat(name, true)
			if err != nil {
				return
			}
			full, _ := c.files.path(name)
			content, _ := c.files.session.Server.ReadFile(full)
			c.tell(fmt.Sprintf("C%04o %d %s\n", info.mode.Perm(), info.size, path.Base(name)))
			if c.answered() {
				io.Copy(c.stdout, bytes.NewReader(content))
				c.tell("\x00") // the answer is not awaited: the client may be waiting for more content
			}
		}
	}
}

// tell sends texts, each after the client has acknowledged the one before it. It reports whether it
// could send all of them.
func (c *copying) tell(texts ...string) bool {
	for i, text := range texts {
		if i > 0 && !c.answered() {
			return false
		}
		if _, err := io.WriteString(c.stdout, text); err != nil {
			return false
		}
	}
	return true
}

// answered reads an acknowledgement and reports whether it was positive.
func (c *copying) answered() bool {
	var status [1]byte
	_, err := io.ReadFull(c.stdin, status[:])
	return err == nil && status[0] == 0
}
