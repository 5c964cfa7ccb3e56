package sshconfig

import (
	"slices"
	"strings"
)

// Names returns the names in Host lines that contain no wildcards, in order and without
// duplicates, for example for shell completion. It includes files that an Include reads under any
// condition.
func (f *File) Names() []string {
	var names []string
	seen := make(map[string]bool)
	var visit func(u *parsedFile)
	visit = func(u *parsedFile) {
		for _, s := range u.sections {
			if s.when != nil {
				for _, name := range s.when.hosts {
					if !seen[name] && !strings.ContainsAny(name, "*?!") {
						seen[name] = true
						names = append(names, name)
					}
				}
			}
			for _, l := range s.lines {
				for _, included := range l.included {
					visit(included)
				}
			}
		}
	}
	for _, u := range f.files {
		visit(u)
	}
	return slices.Clip(names)
}
