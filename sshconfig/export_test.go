package sshconfig

import "strings"

// Keywords returns the names of all keywords in the spelling of ssh_config(5).
func Keywords() []string {
	var names []string
	for _, k := range keywords {
		names = append(names, k.name)
	}
	return names
}

// MeaningOf returns what fleetssh does with a keyword, empty if it is unknown.
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
