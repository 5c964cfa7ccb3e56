package knownhosts

import (
	"crypto/sha1"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// hostNames returns the names under which to look up a host, in that order. Port 0 means 22. An
// IPv6 address may be in brackets.
func hostNames(host string, port int) []string {
	host = lower(unbracket(host))
	if port == 0 || port == 22 {
		return []string{host}
	}
	return []string{"[" + host + "]:" + strconv.Itoa(port), host}
}

// checkName returns an error if the name of a host would mean other hosts in a line, or break
// the line.
func checkName(host string) error {
	host = unbracket(host)
	if host == "" || len(host) > maxPattern/2 || !utf8.ValidString(host) {
		return fmt.Errorf("host name %.80q cannot be written to a known_hosts file", host)
	}
	for i, r := range host {
		if strings.ContainsRune(",*?![]", r) || i == 0 && strings.ContainsRune("#@|", r) ||
			unicode.IsSpace(r) || !unicode.IsPrint(r) {
			return fmt.Errorf("host name %.80q cannot be written to a known_hosts file: it contains %q", host, r)
		}
	}
	return nil
}

func unbracket(host string) string {
	if len(host) > 2 && host[0] == '[' && host[len(host)-1] == ']' && strings.Contains(host, ":") {
		return host[1 : len(host)-1]
	}
	return host
}

// lower converts ASCII letters only to lower case, as OpenSSH does.
func lower(s string) string {
	for i := range len(s) {
		if 'A' <= s[i] && s[i] <= 'Z' {
			b := []byte(s)
			for ; i < len(b); i++ {
				if 'A' <= b[i] && b[i] <= 'Z' {
					b[i] += 'a' - 'A'
				}
			}
			return string(b)
		}
	}
	return s
}

// matchList reports whether a name matches a pattern of a list, and none of its negated ones,
// wherever they are.
func matchList(patterns, name string) bool {
	found := false
	for pattern := range strings.SplitSeq(patterns, ",") {
		positive, negated := strings.CutPrefix(pattern, "!")
		if !match(positive, name) {
			continue
		}
		if negated {
			return false
		}
		found = true
	}
	return found
}

// match matches a pattern in which * stands for any text and ? for one byte. It backtracks to
// the last * only, so it takes at most len(pattern) * len(name) steps.
func match(pattern, name string) bool {
	p, n := 0, 0
	star, resume := -1, 0
	for n < len(name) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, resume = p, n
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == name[n]):
			p++
			n++
		case star >= 0:
			resume++
			p, n = star+1, resume
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}

// A hasher computes the hashes of one name: HMAC-SHA1 with the salt of a line as key. crypto/hmac
// takes twice as long, because it allocates.
type hasher struct {
	inner []byte // padded key, name
	outer [sha1.BlockSize + sha1.Size]byte
}

func newHasher(name string) *hasher {
	h := &hasher{inner: make([]byte, sha1.BlockSize, sha1.BlockSize+len(name))}
	for i := range sha1.BlockSize {
		h.inner[i], h.outer[i] = 0x36, 0x5c
	}
	h.inner = append(h.inner, name...)
	return h
}

func (h *hasher) sum(salt *[sha1.Size]byte) [sha1.Size]byte {
	for i, b := range salt {
		h.inner[i], h.outer[i] = b^0x36, b^0x5c
	}
	sum := sha1.Sum(h.inner)
	copy(h.outer[sha1.BlockSize:], sum[:])
	return sha1.Sum(h.outer[:])
}
