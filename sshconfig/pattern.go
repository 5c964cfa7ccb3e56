package sshconfig

import (
	"net/netip"
	"strings"
)

// matches reports whether s matches a pattern: "*" matches any characters, "?" one character. See
// ssh_config(5), "PATTERNS".
func matches(pattern, s string) bool {
	p, i := 0, 0
	star, end := -1, 0 // the last "*", and the end of its match in s
	for i < len(s) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, end = p, i
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == s[i]):
			p++
			i++
		case star >= 0:
			end++
			p, i = star+1, end
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}

// matchesList reports whether s matches a list of patterns separated by commas. If a pattern with a
// leading "!" matches, the list does not match.
func matchesList(list, s string) bool {
	return anyOf(list, func(pattern string) bool { return matches(pattern, s) })
}

// matchesNetwork reports whether an address matches a list of networks, addresses and patterns.
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
