package inventory

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// A confSection is a section of a groups.conf.
type confSection struct {
	name string
	line int
	keys map[string]string
}

// groupsConf adds the group sources of ClusterShell's groups.conf, and those in the folders that it
// names: confdir contains more such files, autodir contains groups in YAML.
func (r *reader) groupsConf() error {
	folder, err := filepath.Abs(filepath.Dir(r.path))
	if err != nil {
		return r.at(0, err)
	}
	sections, err := r.sections()
	if err != nil {
		return err
	}
	var main confSection
	for _, section := range sections {
		if section.name == "Main" {
			main = section
			continue
		}
		if err := r.sectionSources(section, folder); err != nil {
			return err
		}
	}
	for _, extra := range []struct{ keys, ending string }{{"groupsdir confdir", ".conf"}, {"autodir", ".yaml"}} {
		for key := range strings.FieldsSeq(extra.keys) {
			if err := r.extraFolders(main.keys[key], extra.ending, folder); err != nil {
				return r.at(main.line, err)
			}
		}
	}
	return r.chooseDefault(main)
}

// chooseDefault puts the default source first.
func (r *reader) chooseDefault(main confSection) error {
	name := main.keys["default"]
	if name == "" {
		return nil
	}
	i := slices.IndexFunc(r.inv.sources, func(s *source) bool { return s.name == name })
	if i < 0 {
		return r.fail(main.line, "the default source %.80q does not exist", name)
	}
	first := r.inv.sources[i]
	r.inv.sources = slices.Insert(slices.Delete(r.inv.sources, i, i+1), 0, first)
	return nil
}

// sectionSources adds the sources of a section. They share the upcalls of the section.
func (r *reader) sectionSources(section confSection, folder string) error {
	if section.keys["map"] == "" {
		return r.fail(section.line, "[%s] has no upcall %q", section.name, "map")
	}
	for name := range strings.SplitSeq(section.name, ",") {
		s := &source{name: strings.TrimSpace(name), path: r.path, line: section.line, folder: folder, upcalls: section.keys}
		if err := r.inv.addSource(s); err != nil {
			return r.at(section.line, err)
		}
	}
	return nil
}

// extraFolders reads the files in a list of folders. A missing folder is not an error.
func (r *reader) extraFolders(list, ending, folder string) error {
	paths, err := words(strings.ReplaceAll(list, "$CFGDIR", folder))
	if err != nil {
		return err
	}
	for _, path := range paths {
		if !filepath.IsAbs(path) {
			path = filepath.Join(folder, path)
		}
		entries, err := os.ReadDir(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		for _, entry := range entries {
			if !strings.HasSuffix(entry.Name(), ending) || strings.HasPrefix(entry.Name(), ".") {
				continue
			}
			if err := r.extraFile(filepath.Join(path, entry.Name()), ending, folder); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *reader) extraFile(path, ending, folder string) error {
	data, err := readFile(path)
	if err != nil {
		return err
	}
	extra := &reader{inv: r.inv, path: path, text: string(data)}
	if err := extra.checkText(); err != nil {
		return err
	}
	if ending == ".yaml" {
		return extra.yaml()
	}
	sections, err := extra.sections()
	if err != nil {
		return err
	}
	for _, section := range sections {
		if section.name == "Main" {
			continue // only the first file chooses the default source
		}
		if err := extra.sectionSources(section, folder); err != nil {
			return err
		}
	}
	return nil
}

// sections splits a file into sections, as Python's configparser does: keys end with "=" or ":",
// and values continue on indented lines.
func (r *reader) sections() ([]confSection, error) {
	var sections []confSection
	seen := make(map[string]bool)
	key := ""
	number := 0
	for line := range strings.SplitSeq(r.text, "\n") {
		number++
		text := strings.TrimSpace(line)
		if text == "" || text[0] == '#' || text[0] == ';' {
			continue
		}
		if inside, ok := strings.CutPrefix(line, "["); ok {
			name, _, closed := strings.Cut(inside, "]")
			if !closed || name == "" {
				return nil, r.fail(number, "%.80q is not a section", text)
			}
			if seen[name] {
				return nil, r.fail(number, "[%.80s] is defined twice", name)
			}
			if len(sections) == maxGroups {
				return nil, r.fail(number, "more than %d sections", maxGroups)
			}
			seen[name] = true
			sections = append(sections, confSection{name, number, make(map[string]string)})
			key = ""
			continue
		}
		if len(sections) == 0 {
			return nil, r.fail(number, "%.80q comes before the first section", text)
		}
		keys := sections[len(sections)-1].keys
		if key != "" && (line[0] == ' ' || line[0] == '\t') {
			keys[key] += "\n" + text
			continue
		}
		i := strings.IndexAny(text, ":=")
		if i < 1 {
			return nil, r.fail(number, "%.80q is not a key and a value", text)
		}
		key = strings.ToLower(strings.TrimSpace(text[:i]))
		if _, twice := keys[key]; twice {
			return nil, r.fail(number, "%.80q is defined twice", key)
		}
		keys[key] = strings.TrimSpace(text[i+1:])
	}
	return sections, nil
}

// addSource adds a group source after the others.
func (inv *Inventory) addSource(s *source) error {
	if s.name == "" || strings.ContainsAny(s.name, "@,!&^*:?[] \t") || printable(s.name) != s.name {
		return fmt.Errorf("%.80q is not a valid source name", s.name)
	}
	for _, other := range inv.sources {
		if other.name == s.name {
			return fmt.Errorf("source %q is defined twice, see %s:%d", s.name, other.path, other.line)
		}
	}
	if len(inv.sources) == maxSources {
		return fmt.Errorf("more than %d sources of groups", maxSources)
	}
	inv.sources = append(inv.sources, s)
	return nil
}
