package sshconfig

import (
	"slices"
	"strings"
)

// Names returns the hosts that Host lines name without wildcards, in the order in which
// they are first named: what a shell may complete.
func (f *File) Names() []string {
	var names []string
	seen := make(map[string]bool)
	var visit func(u *unit)
	visit = func(u *unit) {
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
				for _, included := range l.units {
					visit(included)
				}
			}
		}
	}
	for _, u := range f.units {
		visit(u)
	}
	return slices.Clip(names)
}
