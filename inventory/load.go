package inventory

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"fleetssh"
)

// maxFile bounds the size of a file, and the output of an executable.
const maxFile = 64 << 20

// Load reads the inventory at path. Settings that the inventory does not give come from base. The
// first line of this table that fits determines the format:
//
//	a folder                         all files in it, in order, as in Ansible
//	executable, and begins with      run with --list, as in Ansible
//	"#!" or is not a text file
//	.yml, .yaml, .json               Ansible's YAML, or groups of ClusterShell
//	.conf                            ClusterShell's groups.conf
//	.ini, named hosts or inventory,  Ansible's INI
//	contains [sections] or ansible_…=
//	everything else                  a list of hosts, see [ParseHosts]
//
// In a folder, files are skipped whose names begin with a dot or end with ~, .bak, .cfg, .ini, .md,
// .orig, .pyc, .pyo, .retry, .rpm, .rst, .swp or .txt. Ansible skips them, too: some of them are
// settings of inventory scripts.
//
// A file may have up to 64 MiB, an inventory up to 1,000,000 hosts and 100,000 groups. An
// executable must finish within two minutes. Upcalls of ClusterShell are run when their answers
// are needed, and must finish within 30 seconds each. The error is a [*ParseError].
func Load(path string, base fleetssh.HostConfig) (*Inventory, error) {
	inv := newInventory(path, base)
	if err := inv.load(path, 0); err != nil {
		return nil, err
	}
	if err := inv.finish(); err != nil {
		return nil, err
	}
	return inv, nil
}

// load adds a file, or all files of a folder. depth is the number of folders around it.
func (inv *Inventory) load(path string, depth int) error {
	info, err := os.Stat(path)
	if err != nil {
		reason := reasonOf(err)
		if list, ok := strings.CutSuffix(path, ","); ok && depth == 0 { // as in ansible -i host,
			reason += "; to name hosts, use -w " + list
		}
		return &ParseError{Path: path, Reason: reason, err: err}
	}
	if info.IsDir() {
		return inv.loadFolder(path, depth)
	}
	inv.addFolder(filepath.Dir(path))
	data, err := readFile(path)
	if err != nil {
		return err
	}
	r := &reader{inv: inv, path: path, text: string(data)}
	executable := info.Mode()&0o111 != 0
	begins := bytes.HasPrefix(data, []byte("#!"))
	switch {
	case executable && (begins || bytes.IndexByte(data[:min(len(data), 512)], 0) >= 0):
		return r.script()
	case begins:
		return r.fail(1, "it begins with #! but is not executable")
	}
	return r.read()
}

// sealedFile is the beginning of a file that ansible-vault has encrypted as a whole.
const sealedFile = "$ANSIBLE_VAULT;"

// checkText refuses files that are not text: their contents would be taken for names of hosts.
func (r *reader) checkText() error {
	switch {
	case strings.HasPrefix(strings.TrimLeft(r.text, "\ufeff \t\r\n"), sealedFile):
		return r.fail(1, "it is encrypted by ansible-vault")
	case strings.IndexByte(r.text, 0) >= 0:
		return r.fail(0, "it is not a text file")
	}
	return nil
}

// read adds a file that is not executable.
func (r *reader) read() error {
	if err := r.checkText(); err != nil {
		return err
	}
	name := filepath.Base(r.path)
	switch strings.ToLower(filepath.Ext(name)) {
	case ".yml", ".yaml", ".json":
		return r.yaml()
	case ".conf":
		return r.groupsConf()
	case ".ini":
		return r.ini()
	}
	if name == "hosts" || name == "inventory" || looksLikeINI(r.text) {
		return r.ini()
	}
	return r.hostLines()
}

func (inv *Inventory) loadFolder(path string, depth int) error {
	const maxDepth = 16
	if depth == maxDepth {
		return &ParseError{Path: path, Reason: fmt.Sprintf("folders nested more than %d deep", maxDepth)}
	}
	inv.addFolder(path)
	entries, err := os.ReadDir(path)
	if err != nil {
		return &ParseError{Path: path, Reason: reasonOf(err), err: err}
	}
	for _, entry := range entries {
		if skipped(entry.Name()) {
			continue
		}
		if err := inv.load(filepath.Join(path, entry.Name()), depth+1); err != nil {
			return err
		}
	}
	return nil
}

func (inv *Inventory) addFolder(path string) {
	if !slices.Contains(inv.folders, path) {
		inv.folders = append(inv.folders, path)
	}
}

// skipped reports whether a file of a folder is not part of the inventory.
func skipped(name string) bool {
	switch name {
	case "host_vars", "group_vars", "vars_plugins":
		return true
	}
	for _, ending := range []string{
		"~", ".bak", ".cfg", ".ini", ".md", ".orig", ".pyc", ".pyo", ".retry", ".rpm", ".rst", ".swp", ".txt",
	} {
		if strings.HasSuffix(name, ending) {
			return true
		}
	}
	return strings.HasPrefix(name, ".")
}

// readFile reads a file or a pipe.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, &ParseError{Path: path, Reason: reasonOf(err), err: err}
	}
	defer f.Close()
	return readAll(f, path)
}

func readAll(r io.Reader, path string) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	if err != nil {
		return nil, &ParseError{Path: path, Reason: reasonOf(err), err: err}
	}
	if len(data) > maxFile {
		return nil, &ParseError{Path: path, Reason: "more than 64 MiB"}
	}
	return data, nil
}

// reasonOf returns the text of an error without the path before it.
func reasonOf(err error) string {
	if e, ok := err.(*fs.PathError); ok {
		return e.Err.Error()
	}
	return err.Error()
}

// A reader adds one file to an inventory.
type reader struct {
	inv  *Inventory
	path string
	text string
}

func (r *reader) fail(line int, format string, args ...any) error {
	return &ParseError{Path: r.path, Line: line, Reason: fmt.Sprintf(format, args...)}
}

// at adds the path and the line to an error.
func (r *reader) at(line int, err error) error {
	if err == nil {
		return nil
	}
	return &ParseError{Path: r.path, Line: line, Reason: err.Error(), err: err}
}

// lines yields the lines with their numbers, without surrounding white space.
func (r *reader) lines(yield func(number int, line string) bool) {
	number := 0
	for line := range strings.SplitSeq(r.text, "\n") {
		if number++; !yield(number, strings.TrimSpace(line)) {
			return
		}
	}
}
