// Command rename changes the module path everywhere in the tree. "make rename" runs it.
package main

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: rename host/path")
		os.Exit(2)
	}
	files, err := rename(".", os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, "rename:", err)
		os.Exit(1)
	}
	fmt.Printf("%d files changed; once it is published: go install %s/cmd/fleetssh@latest\n", files, os.Args[1])
}

// validPath are module paths that others can fetch: a host with a dot, and names below it.
var validPath = regexp.MustCompile(`^[a-z0-9-]+(\.[a-z0-9-]+)+(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+$`)

// moduleLine is the line of go.mod that names the module.
var moduleLine = regexp.MustCompile(`(?m)^module (\S+)$`)

// rename changes the module path of the tree below root to path, and returns how many files it has
// written. Nothing is written unless all of them could be read and changed.
func rename(root, path string) (int, error) {
	if !validPath.MatchString(path) {
		return 0, fmt.Errorf("%q is not a module path: write host/path, such as example.com/you/fleetssh", path)
	}
	dir, err := os.OpenRoot(root)
	if err != nil {
		return 0, err
	}
	defer dir.Close()
	mod, err := dir.ReadFile("go.mod")
	if err != nil {
		return 0, err
	}
	found := moduleLine.FindSubmatch(mod)
	if found == nil {
		return 0, errors.New("go.mod names no module")
	}
	r := &renamer{from: string(found[1]), to: path}
	if r.from == r.to {
		return 0, nil
	}
	changed, err := r.tree(dir.FS())
	if err != nil {
		return 0, err
	}
	for name, text := range changed {
		if err := dir.WriteFile(name, text, 0o666); err != nil {
			return 0, err
		}
	}
	return len(changed), nil
}

// packageName returns the name that importers expect of a package with that path.
func packageName(path string) string {
	parts := strings.Split(path, "/")
	last := parts[len(parts)-1]
	if len(parts) > 1 && regexp.MustCompile(`^v[2-9]$|^v[1-9][0-9]+$`).MatchString(last) {
		last = parts[len(parts)-2]
	}
	return last
}
