package inventory

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// readVarFiles reads the variables in group_vars and host_vars beside the files. Variables of later
// folders win.
func (inv *Inventory) readVarFiles() error {
	for _, folder := range inv.folders {
		err := readVars(filepath.Join(folder, "group_vars"), func(name string) *map[string]any {
			if grp := inv.graph.groups[name]; grp != nil {
				return &grp.fileVars
			}
			return nil
		})
		if err != nil {
			return err
		}
		err = readVars(filepath.Join(folder, "host_vars"), func(name string) *map[string]any {
			if h := inv.graph.hosts[name]; h != nil {
				return &h.fileVars
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// varEndings are the endings of files with variables. Only the first existing file or folder is
// read.
var varEndings = []string{"", ".yml", ".yaml", ".json"}

// readVars reads the files of a folder whose names are those of groups or hosts. varsOf returns
// the variables of a group or host, nil if there is none with that name.
func readVars(folder string, varsOf func(name string) *map[string]any) error {
	entries, err := os.ReadDir(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return &ParseError{Path: folder, Reason: reasonOf(err), err: err}
	}
	best := make(map[string]int) // the index of the ending, by name
	for _, entry := range entries {
		for i, ending := range varEndings {
			name, ok := strings.CutSuffix(entry.Name(), ending)
			if !ok || varsOf(name) == nil {
				continue
			}
			if old, found := best[name]; !found || i < old {
				best[name] = i
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(best)) {
		vars := make(map[string]any)
		if err := readVarFile(filepath.Join(folder, name+varEndings[best[name]]), vars, 0); err != nil {
			return err
		}
		to := varsOf(name)
		if *to == nil {
			*to = make(map[string]any)
		}
		maps.Copy(*to, vars)
	}
	return nil
}

// readVarFile adds the variables of a file, or of all files in a folder. depth is the number of
// folders around it.
func readVarFile(path string, vars map[string]any, depth int) error {
	const maxDepth = 16
	info, err := os.Stat(path)
	if err != nil {
		return &ParseError{Path: path, Reason: reasonOf(err), err: err}
	}
	if !info.IsDir() {
		return decodeVars(path, vars)
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return &ParseError{Path: path, Reason: reasonOf(err), err: err}
	}
	if depth == maxDepth {
		return &ParseError{Path: path, Reason: "folders are nested too deep"}
	}
	for _, entry := range entries {
		name := entry.Name()
		if strings.HasPrefix(name, ".") || strings.HasSuffix(name, "~") || !slices.Contains(varEndings, filepath.Ext(name)) {
			continue
		}
		if err := readVarFile(filepath.Join(path, name), vars, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// decodeVars adds the variables of a file. It skips a file that ansible-vault has encrypted as a
// whole.
func decodeVars(path string, vars map[string]any) error {
	data, err := readFile(path)
	if err != nil || strings.HasPrefix(string(data), sealedFile) {
		return err
	}
	r := &reader{path: path}
	root, err := decodeYAML(data)
	if err != nil {
		return r.atYAML(err)
	}
	if root == nil || isNull(root) {
		return nil
	}
	if root.Kind != yaml.MappingNode {
		return r.fail(root.Line, "it is not a dictionary of variables")
	}
	value, err := newYAMLReader(len(data)).value(root, 0)
	if err != nil {
		return r.atYAML(err)
	}
	maps.Copy(vars, value.(map[string]any))
	return nil
}
