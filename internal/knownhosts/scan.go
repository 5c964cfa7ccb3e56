package knownhosts

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"golang.org/x/crypto/ssh"
)

// A saved scan has the format of known_hosts, so that the tools of OpenSSH can show and search
// it. The comment of a line is the standing of its key. A line that must not be trusted if the
// file is used as known_hosts is a comment as a whole, with "#" and the standing before it; so
// are certificates, which such files do not list. A host that may have more keys has a line
// "#partial NAME", and a host with an alias a line "#alias NAME ALIAS".
const (
	partialPrefix = "#partial"
	aliasPrefix   = "#alias"
)

// AppendScan appends the lines for one host, with the verdicts of [DB.Judge] on its keys.
func AppendScan(to []byte, s Shown, verdicts []Verdict) ([]byte, error) {
	if err := checkName(s.Host); err != nil {
		return to, err
	}
	if s.Alias != "" && s.Alias != s.Host && checkName(s.Alias) == nil {
		to = append(to, aliasPrefix+" "+s.Name()+" "+s.Alias+"\n"...)
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
		to = append(to, partialPrefix+" "+s.Name()+"\n"...)
	}
	return to, nil
}

// ReadScan reads the output of AppendScan, or of ssh-keyscan without -H. It returns the hosts in
// the order of their first lines. A line that cannot be parsed is an error, because nobody would
// notice that it is missing. name stands for the file in errors.
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

// scanFile is a saved scan, in so far as it has been read.
type scanFile struct {
	parser
	hosts []Shown
	index map[string]int // indices in hosts, by name
	seen  map[string]int // indices in the Keys of a host, by name and key
}

// add parses a line.
func (f *scanFile) add(row string) error {
	row, prefix, ok := cutPrefix(row)
	if !ok {
		return nil
	}
	var l line
	var err error
	alias := ""
	if prefix == aliasPrefix {
		row, alias = cutField(row)
		if err := checkName(alias); err != nil {
			return err
		}
	}
	if prefix == partialPrefix || prefix == aliasPrefix {
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
	switch prefix {
	case partialPrefix:
		s.Partial = true
		return nil
	case aliasPrefix:
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
		if prefix == "#"+standing.String() {
			if s.Refused == nil {
				s.Refused = make(map[int]Verdict)
			}
			s.Refused[i] = Verdict{Standing: standing, Err: errors.New("according to the saved scan")}
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

// cutPrefix returns a line without its prefix, and the prefix. ok is false for other comments.
func cutPrefix(row string) (rest, prefix string, ok bool) {
	row = strings.Trim(row, " \t\r")
	if !strings.HasPrefix(row, "#") {
		return row, "", true
	}
	prefix, rest = cutField(row)
	if prefix == partialPrefix || prefix == aliasPrefix {
		return rest, prefix, rest != ""
	}
	for s := Listed; s <= TooWeak; s++ {
		if prefix == "#"+s.String() {
			return rest, prefix, true
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
		return "", 0, errors.New("a line with a marker does not come from a scan")
	}
	return parseName(l.patterns)
}

// parseName parses the name of a host in a file: "host" or "[host]:port".
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
