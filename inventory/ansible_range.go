package inventory

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

var (
	bracketedPort = lazyRegexp(`^\[(.+)\]:([0-9]+)$`)
	plainPort     = lazyRegexp(`^((?:[^:\[\]]|\[[^\]]*\])*):([0-9]+)$`)
	hostRange     = lazyRegexp(`(?i)\[(?:[a-z]:[a-z]|[0-9]+:[0-9]+)(?::[0-9]+)?\]`)
	addressRange  = lazyRegexp(`(?i)\[[0-9a-f]+:[0-9a-f]+(?::[0-9]+)?\]`)
	hostLabel     = lazyRegexp(`^[\p{L}\p{N}_]([\p{L}\p{N}_-]*[\p{L}\p{N}])?$`)
)

// expandPattern returns the names of a host pattern of Ansible, such as "web[01:20:2]:2222", and
// its port as a variable, nil if there is none. As in Ansible, only what looks like a host can
// have a port.
func expandPattern(pattern string) (names []string, port any, err error) {
	name, digits := pattern, ""
	if m := bracketedPort().FindStringSubmatch(pattern); m != nil {
		name, digits = m[1], m[2]
	} else if m := plainPort().FindStringSubmatch(pattern); m != nil {
		name, digits = m[1], m[2]
	}
	switch {
	case digits != "" && looksLikeHost(name):
		n, err := portOf(digits)
		if err != nil {
			return nil, nil, err
		}
		pattern, port = name, json.Number(strconv.Itoa(n))
	case strings.HasSuffix(pattern, ":") && !isAddress(pattern):
		return nil, nil, fmt.Errorf("%s ends with a colon but has no port", shown(pattern))
	case strings.HasPrefix(pattern, "[") && strings.HasSuffix(pattern, "]") && isAddress(pattern[1:len(pattern)-1]):
		pattern = pattern[1 : len(pattern)-1]
	}
	names, err = expandRanges(pattern)
	return names, port, err
}

// looksLikeHost reports whether a name, which may have ranges, is a DNS name or an IP address.
func looksLikeHost(name string) bool {
	if isAddress(addressRange().ReplaceAllLiteralString(name, "0")) {
		return true
	}
	for label := range strings.SplitSeq(hostRange().ReplaceAllLiteralString(name, "0"), ".") {
		if !hostLabel().MatchString(label) {
			return false
		}
	}
	return true
}

// expandRanges returns the names of a pattern with ranges such as [01:20:2] and [a:f].
func expandRanges(pattern string) ([]string, error) {
	names := []string{""}
	size := 0
	for {
		head, rest, found := strings.Cut(pattern, "[")
		var texts []string
		if found {
			inside, tail, closed := strings.Cut(rest, "]")
			if !closed {
				return nil, fmt.Errorf("%s: missing %q", shown(pattern), "]")
			}
			var err error
			if texts, err = rangeTexts(inside); err != nil {
				return nil, fmt.Errorf("range [%.80s]: %w", inside, err)
			}
			pattern = tail
		} else {
			texts = []string{""}
		}
		const maxText = 64 << 20
		if len(names)*len(texts) > maxHosts {
			return nil, fmt.Errorf("more than %d hosts", maxHosts)
		}
		longer := make([]string, 0, len(names)*len(texts))
		for _, name := range names {
			for _, text := range texts {
				longer = append(longer, name+head+text)
				if size += len(name) + len(head) + len(text); size > maxText {
					return nil, fmt.Errorf("more than 64 MiB of names")
				}
			}
		}
		if names = longer; !found {
			return names, nil
		}
	}
}

// rangeTexts returns the elements of a range "first:last" or "first:last:step" of numbers or
// letters. Capital letters come after small ones.
func rangeTexts(inside string) ([]string, error) {
	parts := strings.Split(inside, ":")
	if len(parts) != 2 && len(parts) != 3 {
		return nil, fmt.Errorf("it must be first:last or first:last:step")
	}
	first, last, step := parts[0], parts[1], 1
	if first == "" {
		first = "0"
	}
	if last == "" {
		return nil, fmt.Errorf("it has no last value")
	}
	if len(parts) == 3 {
		var err error
		if step, err = strconv.Atoi(parts[2]); err != nil || step < 1 || step > maxHosts {
			return nil, fmt.Errorf("%.80q is not a valid step", parts[2])
		}
	}
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	if len(first) == 1 && len(last) == 1 && isLetter(first[0]) && isLetter(last[0]) {
		from, to := strings.Index(letters, first), strings.Index(letters, last)
		return numbered(from, to, step, func(i int) string { return letters[i : i+1] })
	}
	from, err := strconv.ParseUint(first, 10, 31)
	if err != nil {
		return nil, fmt.Errorf("%.80q is neither a number nor a letter", first)
	}
	to, err := strconv.ParseUint(last, 10, 31)
	if err != nil {
		return nil, fmt.Errorf("%.80q is neither a number nor a letter", last)
	}
	width := 0
	if first[0] == '0' && len(first) > 1 {
		if width = len(first); len(last) != width {
			return nil, fmt.Errorf("both ends of a padded range must have the same number of digits")
		}
	}
	return numbered(int(from), int(to), step, func(i int) string { return fmt.Sprintf("%0*d", width, i) })
}

func numbered(from, to, step int, text func(int) string) ([]string, error) {
	if to < from {
		return nil, fmt.Errorf("it ends before it starts")
	}
	if (to-from)/step >= maxHosts {
		return nil, fmt.Errorf("more than %d hosts", maxHosts)
	}
	var all []string
	for i := from; i <= to; i += step {
		all = append(all, text(i))
	}
	return all, nil
}
