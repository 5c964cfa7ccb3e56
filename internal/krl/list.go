// Package krl decides which keys are revoked. It reads the files of RevokedHostKeys of
// ssh_config(5): lists of public keys, and key revocation lists (KRLs) as ssh-keygen -k makes
// them (PROTOCOL.krl of OpenSSH).
//
// A file that cannot be read completely is an error: the caller has to refuse every key then, as
// ssh does.
package krl

import (
	"bytes"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"

	"fleetssh/internal/algorithms"
)

// maxFile is the maximum size of a file in bytes, as in OpenSSH.
const maxFile = 128 << 20

// A List holds revoked keys. The zero List revokes none. It does not change after it is read,
// and may be used by many goroutines.
type List struct {
	sha256 map[[sha256.Size]byte]struct{} // hashes of plain keys, also of those that the file contains
	sha1   map[[sha1.Size]byte]struct{}
	certs  map[string]*certificates // by the key of the authority; "": of every authority
}

// ReadFile reads a file of either kind.
func ReadFile(path string) (*List, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxFile {
		return nil, fmt.Errorf("read %s: larger than %d MiB", path, maxFile>>20)
	}
	l, err := Parse(data)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return l, nil
}

// Parse parses the content of a file of either kind.
func Parse(data []byte) (*List, error) {
	l := &List{
		sha256: make(map[[sha256.Size]byte]struct{}),
		sha1:   make(map[[sha1.Size]byte]struct{}),
		certs:  make(map[string]*certificates),
	}
	if bytes.HasPrefix(data, []byte(magic)) {
		return l, l.addKRL(data[len(magic):])
	}
	return l, l.addLines(string(data))
}

// TheKey is the reason if the key itself is revoked.
const TheKey = "the key"

// Reason returns in a few words what is revoked of a key, which may be a certificate: the key
// itself, the certificate, or the authority that has signed it. It returns "" if nothing is.
func (l *List) Reason(key ssh.PublicKey) string {
	if l.hasKey(key) {
		return TheKey
	}
	cert, ok := key.(*ssh.Certificate)
	if !ok {
		return ""
	}
	if l.hasKey(cert.SignatureKey) {
		return "the authority that signed it"
	}
	for _, authority := range []string{string(cert.SignatureKey.Marshal()), ""} {
		if c := l.certs[authority]; c != nil {
			if reason := c.reason(cert); reason != "" {
				return reason
			}
		}
	}
	return ""
}

// hasKey reports whether a key, or the key in a certificate, is itself revoked.
func (l *List) hasKey(key ssh.PublicKey) bool {
	blob := algorithms.PlainKey(key).Marshal()
	if _, ok := l.sha256[sha256.Sum256(blob)]; ok {
		return true
	}
	_, ok := l.sha1[sha1.Sum(blob)]
	return ok
}

func (l *List) addKey(blob []byte) { l.sha256[sha256.Sum256(blob)] = struct{}{} }

// addLines parses a list of public keys, one on each line.
func (l *List) addLines(text string) error {
	number := 0
	for row := range strings.SplitSeq(text, "\n") {
		number++
		words := strings.Fields(row)
		if len(words) == 0 || words[0][0] == '#' {
			continue
		}
		blob, err := readKey(words)
		if err != nil {
			return fmt.Errorf("line %d: %w", number, err)
		}
		l.addKey(blob)
	}
	return nil
}

// readKey returns the plain key in the words of a line. Its type may be unknown here: no host can
// show such a key.
func readKey(words []string) ([]byte, error) {
	if len(words) < 2 {
		return nil, errors.New("no public key")
	}
	blob, err := base64.StdEncoding.DecodeString(words[1])
	if err != nil {
		return nil, errors.New("the key is not base64")
	}
	r := reader{blob}
	if name, err := r.bytes(); err != nil || string(name) != words[0] || len(r.data) == 0 {
		return nil, errors.New("the key is not of the type in the line")
	}
	key, err := ssh.ParsePublicKey(blob)
	if err != nil {
		if strings.Contains(words[0], "-cert-v") || isKnown(words[0]) {
			return nil, errors.New("unreadable key")
		}
		return blob, nil
	}
	return algorithms.PlainKey(key).Marshal(), nil // an RSA key has more than one encoding
}

// isKnown reports whether the SSH library knows a type of plain keys.
func isKnown(name string) bool {
	return slices.Contains([]string{
		ssh.KeyAlgoRSA, ssh.InsecureKeyAlgoDSA, ssh.KeyAlgoED25519, ssh.KeyAlgoSKED25519,
		ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521, ssh.KeyAlgoSKECDSA256,
	}, name)
}
