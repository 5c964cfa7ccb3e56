package knownhosts

import (
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"strings"

	"golang.org/x/crypto/ssh"

	"fleetssh/internal/algorithms"
)

// A line is a line of a known_hosts file. It does not change after parsing.
type line struct {
	file   string
	number int
	marker marker

	patterns string // lower case, separated by commas; empty if hashed
	hashed   bool
	salt     [sha1.Size]byte
	sum      [sha1.Size]byte

	keyType string
	key     string // base64
}

// A marker is the optional first field of a line.
type marker int

const (
	unmarked  marker = iota
	authority        // @cert-authority
	revoked          // @revoked
)

var errBlank = errors.New("blank line or comment")

// maxPattern is the maximum length of a pattern in OpenSSH.
const maxPattern = 1022

// A parser parses lines. It reuses its buffers, so that a line costs no allocation.
type parser struct {
	text, blob []byte
}

// parse parses a line. It returns errBlank for a blank line or a comment. It decodes the key of
// a line without marker but does not parse it: most keys of a large file are never needed.
func (p *parser) parse(text string) (line, error) {
	var l line
	text, _, _ = strings.Cut(text, "\x00") // OpenSSH's lines are C strings
	text = strings.Trim(text, " \t\r")
	if text == "" || text[0] == '#' {
		return l, errBlank
	}
	if len(text) > maxLine {
		return l, errors.New("line too long")
	}
	field, rest := cutField(text)
	if field[0] == '@' {
		switch {
		// OpenSSH does not accept a tab after the marker. We do: if the line were skipped, a
		// revoked key would be trusted.
		case field == "@revoked":
			l.marker = revoked
		case field == "@cert-authority":
			l.marker = authority
		default:
			return l, errors.New("unknown marker")
		}
		field, rest = cutField(rest)
	}
	if err := l.setHosts(field); err != nil {
		return l, err
	}
	l.keyType, rest = cutField(rest)
	l.key, _ = cutField(rest)
	if l.key == "" {
		return l, errors.New("no key")
	}
	if !isKeyType(l.keyType) {
		return l, errors.New("unknown key type")
	}
	if err := p.checkKey(&l); err != nil {
		return l, err
	}
	if l.marker != unmarked {
		key := l.publicKey()
		if key == nil {
			return l, errors.New("unreadable key")
		}
		// An RSA key has more than one encoding, and a certificate in such a line stands for
		// the key in it, as in sshkey_equal_public of OpenSSH.
		l.key = encode(algorithms.PlainKey(key))
	}
	return l, nil
}

// checkKey checks that the key is base64 and begins with its type.
func (p *parser) checkKey(l *line) error {
	var err error
	p.text = append(p.text[:0], l.key...)
	p.blob, err = base64.StdEncoding.Strict().AppendDecode(p.blob[:0], p.text)
	if err != nil || base64.StdEncoding.EncodedLen(len(p.blob)) != len(p.text) {
		return errors.New("key is not base64")
	}
	name := len(l.keyType)
	if len(p.blob) < 4+name || binary.BigEndian.Uint32(p.blob) != uint32(name) || string(p.blob[4:4+name]) != l.keyType {
		return errors.New("the key is not of the type in the line")
	}
	return nil
}

func (l *line) setHosts(field string) error {
	if strings.HasPrefix(field, "|") {
		parts := strings.Split(field, "|")
		if len(parts) != 4 || parts[1] != "1" || !decodeSum(&l.salt, parts[2]) || !decodeSum(&l.sum, parts[3]) {
			return errors.New("malformed hashed host")
		}
		l.hashed = true
		return nil
	}
	if len(field) > maxPattern {
		for pattern := range strings.SplitSeq(field, ",") {
			if len(strings.TrimPrefix(pattern, "!")) > maxPattern {
				return errors.New("host pattern too long")
			}
		}
	}
	l.patterns = lower(field)
	return nil
}

// isLiteral reports whether the line lists names only, and no patterns.
func (l *line) isLiteral() bool {
	return !l.hashed && !strings.ContainsAny(l.patterns, "*?!")
}

// matches reports whether the line is about a name, as [hostNames] returns it.
func (l *line) matches(name string) bool {
	if l.hashed {
		return newHasher(name).sum(&l.salt) == l.sum
	}
	return matchList(l.patterns, name)
}

// publicKey returns the key, or nil if it cannot be parsed; OpenSSH skips such a line.
func (l *line) publicKey() ssh.PublicKey {
	blob, err := base64.StdEncoding.DecodeString(l.key)
	if err != nil {
		return nil
	}
	key, err := ssh.ParsePublicKey(blob)
	if err != nil {
		return nil
	}
	return key
}

func decodeSum(sum *[sha1.Size]byte, text string) bool {
	if len(text) != 28 {
		return false
	}
	var buf [21]byte
	n, err := base64.StdEncoding.Strict().Decode(buf[:], []byte(text))
	if err != nil || n != sha1.Size {
		return false
	}
	copy(sum[:], buf[:])
	return true
}

// cutField returns the first field and the rest of text, which does not begin with white space.
func cutField(text string) (field, rest string) {
	i := strings.IndexAny(text, " \t")
	if i < 0 {
		return text, ""
	}
	return text[:i], strings.TrimLeft(text[i:], " \t")
}

// encode returns a key in the form of a known_hosts file.
func encode(key ssh.PublicKey) string {
	return base64.StdEncoding.EncodeToString(key.Marshal())
}
