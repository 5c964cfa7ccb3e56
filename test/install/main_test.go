//go:build linux

// Package install_test tests what people install: "make install", "make dist", the packages, and
// "make rename".
package install_test

import (
	"bytes"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The builds of the tests say this of themselves.
const (
	version = "1.2.3"
	commit  = "abcdefabcdef"
)

// source returns the top of the repository.
func source(t *testing.T) string {
	t.Helper()
	top, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	return top
}

// runMake runs make for this version in a directory, and returns what it has written.
func runMake(t *testing.T, dir string, args ...string) string {
	t.Helper()
	args = append(args, "VERSION="+version, "COMMIT="+commit, "SOURCE_DATE_EPOCH=1700000000")
	return output(t, dir, nil, "make", args...)
}

// output runs a program in a directory and returns its standard output. env is added to the
// environment.
func output(t *testing.T, dir string, env []string, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	// Make takes variables of a make that runs the tests from the environment.
	cmd.Env = append(slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "MAKE") || strings.HasPrefix(v, "MFLAGS=")
	}), env...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s%s", name, strings.Join(args, " "), err, out, stderr.Bytes())
	}
	return string(out)
}

// copyTree copies the source into a new directory, without what Git and builds have put there.
func copyTree(t *testing.T) string {
	t.Helper()
	from, to := source(t), t.TempDir()
	err := filepath.WalkDir(from, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, name)
		switch {
		case err != nil:
			return err
		case rel == ".git" || rel == "dist" || rel == "fleetssh":
			if entry.IsDir() {
				return fs.SkipDir
			}
			return nil
		case entry.IsDir():
			return os.MkdirAll(filepath.Join(to, rel), 0o777)
		case !entry.Type().IsRegular():
			return nil
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, rel), text, 0o666)
	})
	if err != nil {
		t.Fatal(err)
	}
	return to
}

// files returns the names of all files below a directory, sorted.
func files(t *testing.T, dir string) []string {
	t.Helper()
	var names []string
	err := filepath.WalkDir(dir, func(name string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			names = append(names, strings.TrimPrefix(name, dir))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	return names
}

// checkVersion runs a program and compares what it says of itself.
func checkVersion(t *testing.T, program string) {
	t.Helper()
	if got := output(t, "", nil, program, "--version"); !strings.HasPrefix(got, "fleetssh "+version+", commit "+commit+", go1.") {
		t.Errorf("%s --version: %q", program, got)
	}
}
