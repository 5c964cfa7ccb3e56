package sshconfig

import (
	"net/netip"
	"strings"
)

// matches reports whether s matches a pattern of ssh_config(5), "PATTERNS": "*"
// stands for any characters and "?" for one.
func matches(pattern, s string) bool {
	p, i := 0, 0
	star, mark := -1, 0 // the last "*", and how far s was when it came
	for i < len(s) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, i
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == s[i]):
			p++
			i++
		case star >= 0:
			mark++
			p, i = star+1, mark
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}

// matchesList reports whether s matches a list of patterns with commas between
// them. One with "!" in front that matches makes the whole list fail.
func matchesList(list, s string) bool {
	return anyOf(list, func(pattern string) bool { return matches(pattern, s) })
}

// matchesNetwork reports whether an address is in a list of networks, addresses
// and patterns.
func matchesNetwork(list string, addr netip.Addr) bool {
	return anyOf(list, func(item string) bool {
		if network, err := netip.ParsePrefix(item); err == nil {
			return network.Contains(addr)
		}
		return matches(item, addr.String())
	})
}

func anyOf(list string, is func(item string) bool) bool {
	found := false
	for item := range strings.SplitSeq(list, ",") {
		item, negated := strings.CutPrefix(item, "!")
		if !is(item) {
			continue
		}
		if negated {
			return false
		}
		found = true
	}
	return found
}
