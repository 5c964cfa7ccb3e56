package sshconfig

import "strings"

// Keywords returns the names of all keywords, as ssh_config(5) writes them.
func Keywords() []string {
	var names []string
	for _, k := range keywords {
		names = append(names, k.name)
	}
	return names
}

// MeaningOf returns what becomes of a keyword, empty if it is none.
func MeaningOf(name string) string {
	k := keywords[strings.ToLower(name)]
	if k == nil {
		return ""
	}
	return map[role]string{ignored: "ignored", applied: "applied", gathered: "applied", unsupported: "unsupported"}[k.role]
}

// KnowsOn reports whether a keyword is in the table of a system.
func KnowsOn(system, name string) bool {
	return makeKeywords(system)[strings.ToLower(name)] != nil
}
