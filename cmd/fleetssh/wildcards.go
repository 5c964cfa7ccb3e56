package main

import (
	"os"
	"path/filepath"
	"strings"
)

// expandWildcards expands wildcards in the local paths of put, all but the last of args, as a shell would.
// The shells of Windows leave this to programs, and so does zsh behind noglob, with which the completion
// script runs fleetssh. A path that exists is itself, whatever characters it has, and one that matches
// nothing stays as it is. The result is as long as args or longer.
func expandWildcards(args []string) []string {
	var expanded []string
	last := len(args) - 1
	for _, arg := range args[:last] {
		if found := matching(arg); len(found) > 0 {
			expanded = append(expanded, found...)
		} else {
			expanded = append(expanded, arg)
		}
	}
	return append(expanded, args[last])
}

// matching returns the files that a pattern matches, sorted; none if it is no pattern.
func matching(pattern string) []string {
	if !strings.ContainsAny(pattern, "*?[") || strings.Contains(pattern, "%(") {
		return nil
	}
	if _, err := os.Lstat(pattern); err == nil {
		return nil
	}
	all, err := filepath.Glob(pattern)
	if err != nil {
		return nil // an open bracket: the name of a file, which is missing
	}
	var found []string
	for _, name := range all {
		if !hiddenMatch(pattern, name) {
			found = append(found, name)
		}
	}
	return found
}

// hiddenMatch reports whether a wildcard at the beginning of an element stands for a dot. Shells do not
// match that.
func hiddenMatch(pattern, name string) bool {
	elements := strings.Split(filepath.ToSlash(name), "/")
	for i, wanted := range strings.Split(filepath.ToSlash(pattern), "/") {
		if i < len(elements) && strings.HasPrefix(elements[i], ".") && !strings.HasPrefix(wanted, ".") {
			return true
		}
	}
	return false
}
