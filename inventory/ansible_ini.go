package inventory

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

var (
	sectionLine = lazyRegexp(`^\[([^:\]\s]+)(?::(\w+))?\]\s*(?:#.*)?$`)
	groupLine   = lazyRegexp(`^([^:\]\s]+)\s*(?:#.*)?$`)
	rangeOnly   = lazyRegexp(`^[-0-9,/]+$`)
)

// looksLikeINI reports whether the contents of a file are in Ansible's INI form, if its name does
// not say so. A line such as "[1-3]" or "[::1]" is a host.
func looksLikeINI(text string) bool {
	for line := range strings.SplitSeq(text, "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		if i := strings.Index(line, " ansible_"); i >= 0 && strings.Contains(line[i:], "=") {
			return true
		}
		section := sectionLine().FindStringSubmatch(line)
		if section == nil || rangeOnly().MatchString(section[1]) {
			continue
		}
		if end := strings.IndexByte(line, ']'); !isAddress(line[1:end]) {
			return true
		}
	}
	return false
}

func isAddress(text string) bool {
	_, err := netip.ParseAddr(text)
	return err == nil
}

// An iniReader reads the INI form of Ansible.
type iniReader struct {
	*reader
	kind    string // of the section: hosts, children or vars
	section *group

	// By name, the groups that are mentioned and not defined so far: where and how.
	mentions map[string]mention
}

type mention struct {
	line int
	text string
}

// ini adds a file in the INI form of Ansible.
func (r *reader) ini() error {
	ini := &iniReader{reader: r, kind: "hosts", section: r.inv.graph.groups[ungroupedGroup], mentions: make(map[string]mention)}
	for number, line := range r.lines {
		if line == "" || line[0] == '#' || line[0] == ';' {
			continue
		}
		if err := ini.line(number, line); err != nil {
			return r.at(number, err)
		}
	}
	// Report the first undefined group, so that the message is always the same.
	var first mention
	for name, m := range ini.mentions {
		if m.line > 0 && (first.line == 0 || m.line < first.line) {
			first = mention{m.line, fmt.Sprintf("%s, but the group %s is not defined", m.text, shown(name))}
		}
	}
	if first.line > 0 {
		return r.fail(first.line, "%s", first.text)
	}
	return nil
}

func (r *iniReader) line(number int, line string) error {
	if m := sectionLine().FindStringSubmatch(line); m != nil {
		return r.begin(number, m[1], m[2])
	}
	if strings.HasPrefix(line, "[") && strings.HasSuffix(line, "]") {
		return fmt.Errorf("%.80q is not a section", line)
	}
	g := r.inv.graph
	switch r.kind {
	case "children":
		m := groupLine().FindStringSubmatch(line)
		if m == nil {
			return fmt.Errorf("%s is not the name of a group", shown(line))
		}
		if g.groups[m[1]] == nil {
			r.mentions[m[1]] = mention{number, fmt.Sprintf("[%s:children] contains %s", r.section.name, shown(m[1]))}
		}
		child, err := g.group(m[1])
		if err != nil {
			return err
		}
		return g.addChild(r.section, child)
	case "vars":
		name, value, ok := strings.Cut(line, "=")
		if !ok {
			return errors.New("the line is not key=value") // it may be part of a secret, so it is not shown
		}
		return g.setGroupVar(r.section, strings.TrimSpace(name), literal(strings.TrimSpace(value)))
	}
	return r.hosts(line)
}

// begin starts a section.
func (r *iniReader) begin(number int, name, kind string) error {
	switch kind {
	case "":
		kind = "hosts"
	case "hosts", "children", "vars":
	default:
		return fmt.Errorf("[%.80s:%.80s] is not a section; the kinds of sections are hosts, children and vars", name, kind)
	}
	if kind != "vars" {
		delete(r.mentions, name)
	} else if r.inv.graph.groups[name] == nil {
		r.mentions[name] = mention{number, fmt.Sprintf("[%.80s:vars] is about %.80q", name, name)}
	}
	grp, err := r.inv.graph.group(name)
	r.section, r.kind = grp, kind
	return err
}

// hosts reads a line of hosts with their variables.
func (r *iniReader) hosts(line string) error {
	fields, err := words(line)
	if err != nil || len(fields) == 0 {
		return err
	}
	names, port, err := expandPattern(fields[0])
	if err != nil {
		return err
	}
	vars := make(map[string]any, len(fields)-1)
	for i, field := range fields[1:] {
		name, value, ok := strings.Cut(field, "=")
		if !ok || name == "" {
			// The word may be part of a password without quotes, so it is not shown.
			return fmt.Errorf("the word after %s is not key=value: a value with blanks needs quotes, and there must be no blanks around \"=\"", shown(fields[i]))
		}
		vars[name] = literal(value)
	}
	for _, name := range names {
		if err := r.inv.graph.addHostWithVars(r.section, name, port, vars); err != nil {
			return err
		}
	}
	return nil
}
