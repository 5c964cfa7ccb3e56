package knownhosts

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"
)

// Fingerprints are the fingerprints of host keys, from a trusted source. The key is the name of
// the host in lower case, as in known_hosts files.
type Fingerprints map[string][]string

// sha256Prefix begins a fingerprint. MD5 fingerprints prove nothing any more.
const sha256Prefix = "SHA256:"

// ReadFingerprints reads lines with a host, as host or [host]:port, and one or more fingerprints
// as ssh-keygen -l prints them; other words between these, such as a size or a type, are
// ignored, as are blank lines and lines that begin with "#". name stands for the file in errors.
func ReadFingerprints(r io.Reader, name string) (Fingerprints, error) {
	text, err := readAll(r, name)
	if err != nil {
		return nil, err
	}
	known := make(Fingerprints)
	number := 0
	for row := range strings.SplitSeq(text, "\n") {
		number++
		words := strings.Fields(row)
		if len(words) == 0 || words[0][0] == '#' {
			continue
		}
		host, port, err := parseName(lower(words[0]))
		if strings.Trim(words[0], "0123456789") == "" {
			err = errors.New("it begins with a number, not with a host")
		}
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", name, number, err)
		}
		host = hostNames(host, port)[0]
		before := len(known[host])
		for _, word := range words[1:] {
			if !strings.HasPrefix(word, sha256Prefix) {
				continue
			}
			word = strings.TrimRight(word, "=")
			if sum, err := base64.RawStdEncoding.DecodeString(word[len(sha256Prefix):]); err != nil || len(sum) != 32 {
				return nil, fmt.Errorf("%s:%d: %.80q is not a fingerprint", name, number, word)
			}
			known[host] = append(known[host], word)
		}
		if len(known[host]) == before {
			return nil, fmt.Errorf("%s:%d: no fingerprint beginning with %s", name, number, sha256Prefix)
		}
	}
	return known, nil
}

// Of returns the fingerprints of a host: those for its port, or else those for its plain name.
func (f Fingerprints) Of(host string, port int) []string {
	for _, name := range hostNames(host, port) {
		if known := f[name]; known != nil {
			return known
		}
	}
	return nil
}

// Has reports whether a key has one of the fingerprints of a host.
func (f Fingerprints) Has(host string, port int, key ssh.PublicKey) bool {
	return slices.Contains(f.Of(host, port), ssh.FingerprintSHA256(key))
}
