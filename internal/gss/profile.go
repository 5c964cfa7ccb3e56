package gss

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// The syntax is that of MIT's profile library (krb5.conf(5), section STRUCTURE):
//
//   - "[section]", "name = value", "name = {" … "}". A repeated section continues the first one. A
//     repeated name has several values; if one value is needed, the first counts.
//   - Lines that begin with "#" or ";" are comments.
//   - A value in double quotes keeps its spaces and may contain \n, \t, \b, \" and \\.
//   - "*" after a section, a name or a closing brace makes it final: later files cannot add to it.
//   - "include FILE" and "includedir DIRECTORY", with absolute paths, read other files. Each file
//     starts outside of all sections. includedir reads, in order, the files whose names consist of
//     letters, digits, "-" and "_", or end in ".conf" and do not begin with a dot.
//   - "module …" would load code and is ignored.

// The limits of a profile.
const (
	maxProfileFile    = 1 << 20 // bytes of one file
	maxProfileFiles   = 500     // with included ones
	maxProfileInclude = 10      // depth of includes
	maxProfileDepth   = 20      // depth of sections
)

// profile holds the contents of krb5.conf files, one tree for each file of the list.
type profile struct {
	files []*section
	read  int // the number of files read so far
}

// section is the contents of a section or of a pair of braces.
type section struct {
	entries []*entry
}

// entry is a named value or section.
type entry struct {
	name  string
	value string
	sub   *section // nil for a value
	final bool
}

// readProfile reads a list of files. Like MIT, it skips files that do not exist or must not be
// read. If it skips all, the profile is empty.
func readProfile(paths []string) (*profile, error) {
	p := &profile{}
	for _, path := range paths {
		root := &section{}
		err := p.readFile(path, root, 0)
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission) {
			return nil, err
		}
		if err == nil {
			p.files = append(p.files, root)
		}
	}
	return p, nil
}

func (p *profile) readFile(path string, root *section, depth int) error {
	if depth > maxProfileInclude {
		return fmt.Errorf("%s: includes nested more than %d deep", path, maxProfileInclude)
	}
	if p.read++; p.read > maxProfileFiles {
		return fmt.Errorf("%s: more than %d files", path, maxProfileFiles)
	}
	data, err := readBounded(path, maxProfileFile)
	if err != nil {
		return err
	}
	return p.parse(path, string(data), root, depth)
}

// profileParser is the state of parsing one file.
type profileParser struct {
	root *section
	open []*entry // the sections around the line, outermost first
	last *entry   // a name without a value, whose brace may be on the next line
	path string
	line int
}

func (p *profile) parse(path, text string, root *section, depth int) error {
	pp := &profileParser{root: root, path: path}
	for line := range strings.Lines(strings.TrimPrefix(text, "\ufeff")) {
		pp.line++
		line = strings.TrimSpace(line)
		word, rest, _ := strings.Cut(line, " ")
		if w, r, found := strings.Cut(line, "\t"); found && len(w) < len(word) {
			word, rest = w, r
		}
		var err error
		switch {
		case line == "" || line[0] == '#' || line[0] == ';':
		case word == "include" && !strings.Contains(line, "="):
			err = pp.located(p.include(strings.TrimSpace(rest), root, depth))
		case word == "includedir" && !strings.Contains(line, "="):
			err = pp.located(p.includeDir(strings.TrimSpace(rest), root, depth))
		case word == "module" && !strings.Contains(line, "="):
		default:
			err = pp.parseLine(line)
		}
		if err != nil {
			return err
		}
	}
	if len(pp.open) > 1 {
		return pp.errorf("%q has no closing brace", pp.open[len(pp.open)-1].name)
	}
	return nil
}

func (p *profile) include(path string, root *section, depth int) error {
	if !filepath.IsAbs(path) {
		return fmt.Errorf("include: %q is not an absolute path", path)
	}
	return p.readFile(path, root, depth+1)
}

func (p *profile) includeDir(dir string, root *section, depth int) error {
	if !filepath.IsAbs(dir) {
		return fmt.Errorf("includedir: %q is not an absolute path", dir)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !includable(e.Name()) {
			continue
		}
		if err := p.readFile(filepath.Join(dir, e.Name()), root, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// includable reports whether includedir reads a file with that name.
func includable(name string) bool {
	if strings.HasSuffix(name, ".conf") {
		return name[0] != '.'
	}
	other := func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_'
	}
	return strings.IndexFunc(name, other) < 0
}

// errorf returns an error with the path and line number.
func (pp *profileParser) errorf(format string, args ...any) error {
	return fmt.Errorf("%s:%d: %w", pp.path, pp.line, fmt.Errorf(format, args...))
}

// located adds the path and line number of an include to its error.
func (pp *profileParser) located(err error) error {
	if err == nil {
		return nil
	}
	return pp.errorf("%v", err) // not %w: readProfile skips missing files, but a missing include is an error
}

func (pp *profileParser) parseLine(line string) error {
	last := pp.last
	pp.last = nil
	switch line[0] {
	case '[':
		return pp.title(line)
	case '}':
		if len(pp.open) < 2 {
			return pp.errorf("closing brace without an opening one")
		}
		last := pp.open[len(pp.open)-1]
		last.final = last.final || strings.HasPrefix(line, "}*")
		pp.open = pp.open[:len(pp.open)-1]
		return nil
	case '{':
		if last == nil || line != "{" {
			return pp.errorf("opening brace without a name")
		}
		parent := pp.open[len(pp.open)-1].sub
		parent.entries = parent.entries[:len(parent.entries)-1]
		return pp.brace(last.name, last.final)
	}
	name, value, found := strings.Cut(line, "=")
	if !found {
		return pp.errorf("neither a section nor name = value")
	}
	if len(pp.open) == 0 {
		return pp.errorf("outside of any section")
	}
	name = strings.TrimSpace(name)
	name, final := strings.CutSuffix(name, "*")
	value = strings.TrimSpace(value)
	if name == "" {
		return pp.errorf("a value without a name")
	}
	if value == "{" {
		return pp.brace(name, final)
	}
	e := &entry{name: name, value: unquote(value), final: final}
	if value == "" {
		pp.last = e
	}
	parent := pp.open[len(pp.open)-1].sub
	parent.entries = append(parent.entries, e)
	return nil
}

// brace begins or continues a subsection.
func (pp *profileParser) brace(name string, final bool) error {
	if len(pp.open) >= maxProfileDepth {
		return pp.errorf("sections nested more than %d deep", maxProfileDepth)
	}
	pp.open = append(pp.open, pp.open[len(pp.open)-1].sub.section(name, final))
	return nil
}

// title begins or continues a section.
func (pp *profileParser) title(line string) error {
	if len(pp.open) > 1 {
		return pp.errorf("a section begins before %q is closed", pp.open[len(pp.open)-1].name)
	}
	name, rest, found := strings.Cut(line[1:], "]")
	if !found {
		return pp.errorf("a section without a closing bracket")
	}
	pp.open = []*entry{pp.root.section(name, strings.HasPrefix(rest, "*"))}
	return nil
}

// section returns the subsection with a name. It makes one if there is none.
func (s *section) section(name string, final bool) *entry {
	for _, e := range s.entries {
		if e.sub != nil && e.name == name {
			e.final = e.final || final
			return e
		}
	}
	e := &entry{name: name, sub: &section{}, final: final}
	s.entries = append(s.entries, e)
	return e
}

// unquote removes quotes and backslashes from a value that begins with a quote.
func unquote(value string) string {
	if len(value) == 0 || value[0] != '"' {
		return value
	}
	var b strings.Builder
	for i := 1; i < len(value) && value[i] != '"'; i++ {
		if value[i] != '\\' || i+1 == len(value) {
			b.WriteByte(value[i])
			continue
		}
		i++
		switch value[i] {
		case 'n':
			b.WriteByte('\n')
		case 't':
			b.WriteByte('\t')
		case 'b':
			b.WriteByte('\b')
		default:
			b.WriteByte(value[i])
		}
	}
	return b.String()
}

// values returns all values with a path, which is a section, subsections and a name.
func (p *profile) values(path ...string) []string {
	var all []string
	for _, file := range p.files {
		values, final := file.values(path)
		all = append(all, values...)
		if final {
			break
		}
	}
	return all
}

func (s *section) values(path []string) (values []string, final bool) {
	for _, e := range s.entries {
		if e.name != path[0] {
			continue
		}
		if len(path) > 1 && e.sub != nil {
			more, stop := e.sub.values(path[1:])
			values = append(values, more...)
			final = final || stop || e.final
		}
		if len(path) == 1 && e.sub == nil {
			values = append(values, e.value)
			final = final || e.final
		}
	}
	return values, final
}

// value returns the first value with a path, or "".
func (p *profile) value(path ...string) string {
	if values := p.values(path...); len(values) > 0 {
		return values[0]
	}
	return ""
}
