package main

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"regexp"
	"strconv"
	"strings"
)

// rootPackage is the name of the package in the root, whatever the module path is.
const rootPackage = "fleetssh"

// renamer changes one module path to another.
type renamer struct{ from, to string }

// tree returns the new text of the files that change, by name.
func (r *renamer) tree(tree fs.FS) (map[string][]byte, error) {
	changed := make(map[string][]byte)
	err := fs.WalkDir(tree, ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && (entry.Name() == ".git" || name == "dist"):
			return fs.SkipDir
		case !entry.Type().IsRegular():
			return nil
		}
		change := r.change(name)
		if change == nil {
			return nil
		}
		text, err := fs.ReadFile(tree, name)
		if err != nil {
			return err
		}
		renamed, err := change(text)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if !bytes.Equal(text, renamed) {
			changed[name] = renamed
		}
		return nil
	})
	return changed, err
}

// change returns what changes a file of that name; nil: nothing does.
func (r *renamer) change(name string) func([]byte) ([]byte, error) {
	switch base := path.Base(name); {
	case path.Ext(name) == ".go":
		return r.goFile
	case base == "go.mod":
		return r.replace(`(?m)^module `, `(/\S+)?$`)
	case base == ".golangci.yml":
		return r.replace(`(pkg: |allow: \[|\(\*)`, `([/\]]|\s)`)
	case path.Ext(name) == ".md":
		return r.replace(`(?m)^\s*(import )?(\w+ )?"`, `(/[a-z/]+)?"$`) // in the Go code of documents
	}
	return nil
}

// replace returns what replaces the module path between two regular expressions.
func (r *renamer) replace(before, after string) func([]byte) ([]byte, error) {
	find := regexp.MustCompile(before + regexp.QuoteMeta(r.from) + after)
	return func(text []byte) ([]byte, error) {
		return find.ReplaceAllFunc(text, func(match []byte) []byte {
			return bytes.Replace(match, []byte(r.from), []byte(r.to), 1)
		}), nil
	}
}

// goFile changes the imports of a Go file, and its links such as [fleetssh/hostset] in comments. An
// import of the root package gets its name if the new path suggests another one.
func (r *renamer) goFile(text []byte) ([]byte, error) {
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, "", text, parser.ImportsOnly|parser.ParseComments)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	end := 0
	for _, spec := range file.Imports {
		old, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return nil, err
		}
		below, found := r.below(old)
		if !found {
			continue
		}
		at := set.Position(spec.Path.Pos()).Offset
		out.Write(text[end:at])
		if below == "" && r.needsName(spec) {
			out.WriteString(rootPackage + " ")
		}
		out.WriteString(strconv.Quote(r.to + below))
		end = at + len(spec.Path.Value)
	}
	out.Write(text[end:])
	links := regexp.MustCompile(`(?m)^(\s*//.*\[)` + regexp.QuoteMeta(r.from) + `/`)
	return format.Source(links.ReplaceAll(out.Bytes(), []byte("${1}"+r.to+"/")))
}

// below returns the part of an import path that follows the module path. found reports whether the
// package is of the module.
func (r *renamer) below(imported string) (rest string, found bool) {
	rest, found = strings.CutPrefix(imported, r.from)
	return rest, found && (rest == "" || rest[0] == '/')
}

// needsName reports whether the import of the root package has to be named.
func (r *renamer) needsName(spec *ast.ImportSpec) bool {
	return spec.Name == nil && packageName(r.to) != rootPackage
}
