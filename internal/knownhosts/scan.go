package knownhosts

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"golang.org/x/crypto/ssh"
)

// The file that a scan is kept in has the format of known_hosts, so that the tools of
// OpenSSH can show and search it. The standing of a key is the comment of its line. A
// line that must not be trusted by who takes the file for one is a comment as a whole,
// "#" and the standing in front of it: so are certificates, which such files do not
// list. A host that may have more keys has a line "#partial NAME", and one that the user
// calls otherwise a line "#alias NAME ALIAS".

// partialMark stands before the name of a host that may have more keys.
const partialMark = "#partial"

// aliasMark stands before the name of a host and what the user calls it.
const aliasMark = "#alias"

// AppendScan appends the lines for one host, with what DB.Judge says of its keys.
func AppendScan(to []byte, s Shown, verdicts []Verdict) ([]byte, error) {
	if err := checkName(s.Host); err != nil {
		return to, err
	}
	if s.Alias != "" && s.Alias != s.Host && checkName(s.Alias) == nil {
		to = append(to, aliasMark+" "+s.Name()+" "+s.Alias+"\n"...)
	}
	for _, v := range verdicts {
		line := s.Name() + " " + v.Key.Type() + " " + encode(v.Key)
		if _, certificate := v.Key.(*ssh.Certificate); certificate || v.Standing == TooWeak || v.Standing.Alarming() {
			line = "#" + v.Standing.String() + " " + line
		} else {
			line += " " + v.Standing.String()
		}
		to = append(to, line+"\n"...)
	}
	if s.Partial {
		to = append(to, partialMark+" "+s.Name()+"\n"...)
	}
	return to, nil
}

// ReadScan reads what AppendScan has written, or ssh-keyscan without -H: the hosts in
// the order in which they come first. A line that cannot be read is an error, because
// nobody would miss it. name stands for the file in errors.
func ReadScan(r io.Reader, name string) ([]Shown, error) {
	text, err := readAll(r, name)
	if err != nil {
		return nil, err
	}
	var f scanFile
	number := 0
	for row := range strings.SplitSeq(text, "\n") {
		number++
		if err := f.add(row); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", name, number, err)
		}
	}
	return f.hosts, nil
}

// scanFile is what has been read of a scan.
type scanFile struct {
	parser
	hosts []Shown
	index map[string]int // of the hosts, by name
	seen  map[string]int // of the keys of a host, by name and key
}

// add adds a line.
func (f *scanFile) add(row string) error {
	row, mark, ok := cutMark(row)
	if !ok {
		return nil
	}
	var l line
	var err error
	alias := ""
	if mark == aliasMark {
		row, alias = cutField(row)
		if err := checkName(alias); err != nil {
			return err
		}
	}
	if mark == partialMark || mark == aliasMark {
		err = l.setHosts(row)
	} else {
		l, err = f.parse(row)
	}
	if err == errBlank {
		return nil
	}
	if err != nil {
		return err
	}
	host, port, err := l.host()
	if err != nil {
		return err
	}
	s := f.of(host, port)
	switch mark {
	case partialMark:
		s.Partial = true
		return nil
	case aliasMark:
		s.Alias = alias
		return nil
	}
	key := l.publicKey()
	if key == nil {
		return errors.New("unreadable key")
	}
	id := s.Name() + " " + encode(key)
	i, seen := f.seen[id]
	if !seen {
		i = len(s.Keys)
		f.seen[id] = i
		s.Keys = append(s.Keys, key)
	}
	for _, standing := range []Standing{Banned, TooWeak} {
		if mark == "#"+standing.String() {
			if s.Refused == nil {
				s.Refused = make(map[int]Verdict)
			}
			s.Refused[i] = Verdict{Standing: standing, Err: errors.New("so said the scan")}
		}
	}
	return nil
}

// of returns the entry of a host.
func (f *scanFile) of(host string, port int) *Shown {
	if f.index == nil {
		f.index, f.seen = make(map[string]int), make(map[string]int)
	}
	name := hostNames(host, port)[0]
	i, ok := f.index[name]
	if !ok {
		i = len(f.hosts)
		f.index[name] = i
		f.hosts = append(f.hosts, Shown{Host: host, Port: port})
	}
	return &f.hosts[i]
}

// cutMark returns a line without the mark before it. ok is false for other comments.
func cutMark(row string) (rest, mark string, ok bool) {
	row = strings.Trim(row, " \t\r")
	if !strings.HasPrefix(row, "#") {
		return row, "", true
	}
	mark, rest = cutField(row)
	if mark == partialMark || mark == aliasMark {
		return rest, mark, rest != ""
	}
	for s := Listed; s <= TooWeak; s++ {
		if mark == "#"+s.String() {
			return rest, mark, true
		}
	}
	return "", "", false
}

// host returns the one host that a line is about.
func (l *line) host() (host string, port int, err error) {
	switch {
	case l.hashed:
		return "", 0, errors.New("the name of the host is hashed")
	case l.marker != unmarked:
		return "", 0, errors.New("a line with a marker is not what a host shows")
	}
	return parseName(l.patterns)
}

// parseName reads "host" and "[host]:port", as they stand in files.
func parseName(name string) (host string, port int, err error) {
	host = name
	if rest, ok := strings.CutPrefix(name, "["); ok {
		inside, after, found := strings.Cut(rest, "]:")
		port, err = strconv.Atoi(after)
		if !found || err != nil || port < 1 || port > 65535 || strconv.Itoa(port) != after {
			return "", 0, fmt.Errorf("host name %.80q is not of the form [host]:port", name)
		}
		host = inside
	}
	if port == 22 {
		port = 0
	}
	return host, port, checkName(host)
}
