package knownhosts

import (
	"errors"
	"fmt"
	"slices"

	"golang.org/x/crypto/ssh"

	"fleetssh/internal/algorithms"
)

// maxKnown is the maximum number of lines in an error.
const maxKnown = 16

// Check returns nil if the key, which may be a certificate, is trusted for the host, and a
// [*KeyError] otherwise. Port 0 means 22. A host with an alias is looked up by the alias and
// port 22.
//
// For a known host, Check takes a microsecond or two, however many lines are hashed. For an
// unknown or changed host, and for one on another port than 22 that is listed without port, it
// computes a hash for each hashed line; the result is kept.
func (db *DB) Check(host string, port int, key ssh.PublicKey) error {
	names := hostNames(host, port)
	if names[len(names)-1] == "" {
		return &KeyError{Reason: Unknown, Key: key}
	}
	plain := key
	cert, certified := key.(*ssh.Certificate)
	if certified {
		plain = cert.Key
	}
	if l := db.revoked(names, plain); l != nil {
		return &KeyError{Reason: Revoked, Key: key, Known: known(l)}
	}
	var bad *KeyError
	if certified {
		signer := algorithms.PlainKey(cert.SignatureKey)
		if l := db.revoked(names, signer); l != nil {
			return &KeyError{Reason: Revoked, Key: key, Known: known(l)}
		}
		if l := db.find(names, authority, encode(signer)); l != nil {
			err := checkCertificate(names[len(names)-1], cert)
			if err == nil {
				return nil
			}
			bad = &KeyError{Reason: BadCertificate, Key: key, Known: known(l), Err: err}
		}
	}
	err := db.checkPlain(names, plain)
	if err == nil {
		return nil
	}
	err.Key = key
	if err.Reason == Unknown {
		db.mu.RLock()
		err.Unread = db.unread
		db.mu.RUnlock()
	}
	if bad == nil {
		return err
	}
	if err.Reason == Unknown {
		return bad
	}
	err.Err = bad.Err
	return err
}

// checkPlain checks a key that is neither a certificate nor revoked.
func (db *DB) checkPlain(names []string, key ssh.PublicKey) *KeyError {
	text := encode(key)
	for i, name := range names {
		if db.find([]string{name}, unmarked, text) != nil {
			return nil
		}
		lines := db.unmarked(name)
		if len(lines) == 0 {
			continue
		}
		// Another goroutine may have added the key meanwhile.
		if slices.ContainsFunc(lines, func(l *line) bool { return encode(l.publicKey()) == text }) {
			return nil
		}
		// Lines found by the plain name only do not make a key changed, but justify a second
		// attempt.
		if retry := otherTypes(lines, key.Type()); i == 0 || retry != nil {
			e := &KeyError{Reason: Changed, Known: known(lines...), Retry: retry}
			if i > 0 {
				e.Reason, e.Known = Unknown, nil
			}
			return e
		}
	}
	return &KeyError{Reason: Unknown}
}

// revoked returns the line that revokes a key for one of the names, or nil.
func (db *DB) revoked(names []string, key ssh.PublicKey) *line {
	db.mu.RLock()
	none := len(db.index.revoked) == 0
	db.mu.RUnlock()
	if none {
		return nil
	}
	return db.find(names, revoked, encode(key))
}

// revokes reports whether any key is revoked for one of the names.
func (db *DB) revokes(names []string) bool {
	db.mu.RLock()
	defer db.mu.RUnlock()
	for _, lines := range db.index.revoked {
		for _, l := range lines {
			if slices.ContainsFunc(names, l.matches) {
				return true
			}
		}
	}
	return false
}

// Lookup returns the keys that are known for a host, and the authorities that may sign its
// certificates: at most sixteen of each. It costs as much as Check for an unknown host.
func (db *DB) Lookup(host string, port int) (keys, authorities []Known) {
	for _, name := range hostNames(host, port) {
		if keys = known(db.unmarked(name)...); keys != nil {
			break
		}
	}
	db.mu.RLock()
	defer db.mu.RUnlock()
	var signers []*line
	for _, name := range hostNames(host, port) {
		for l := range db.index.lines(name) {
			if l.marker == authority && l.publicKey() != nil {
				signers = append(signers, l)
			}
		}
	}
	return keys, known(signers...)
}

func (db *DB) find(names []string, m marker, key string) *line {
	db.mu.RLock()
	defer db.mu.RUnlock()
	for _, name := range names {
		if l := db.index.find(name, m, key); l != nil {
			return l
		}
	}
	return nil
}

// unmarked returns all lines for a name that have no marker and a readable key.
func (db *DB) unmarked(name string) []*line {
	db.mu.RLock()
	var lines []*line
	for l := range db.index.lines(name) {
		if l.marker == unmarked {
			lines = append(lines, l)
		}
	}
	hashed := db.index.hashed
	db.mu.RUnlock()
	lines = append(lines, db.scans.lines(name, hashed)...)
	return slices.DeleteFunc(lines, func(l *line) bool { return l.publicKey() == nil })
}

// otherTypes returns the algorithms of the lines' keys, or nil if one key has the given type.
func otherTypes(lines []*line, keyType string) []string {
	var types []string
	for _, l := range lines {
		if l.keyType == keyType {
			return nil
		}
		types = append(types, l.keyType)
	}
	slices.SortFunc(types, byPreference)
	return algorithmsOf(types)
}

// checkCertificate checks a certificate that a listed authority has signed. It does not check
// revocation.
func checkCertificate(host string, cert *ssh.Certificate) error {
	if cert.CertType != ssh.HostCert {
		return errors.New("it is not a host certificate")
	}
	if a := cert.Signature.Format; a == ssh.KeyAlgoRSA || a == ssh.InsecureKeyAlgoDSA {
		return fmt.Errorf("it is signed with SHA-1 (%s)", a)
	}
	// CheckCert compares names literally, so it gets a matching pattern in place of the host.
	for _, pattern := range cert.ValidPrincipals {
		if pattern != "" && match(pattern, host) {
			host = pattern
			break
		}
	}
	return new(ssh.CertChecker).CheckCert(host, cert)
}

// known describes lines, each once: Add may have read a line twice.
func known(lines ...*line) []Known {
	var list []Known
	for _, l := range lines {
		k := Known{File: l.file, Line: l.number, Type: l.keyType}
		if key := l.publicKey(); key != nil {
			k.Fingerprint = ssh.FingerprintSHA256(key)
		}
		if len(list) < maxKnown && !slices.Contains(list, k) {
			list = append(list, k)
		}
	}
	return list
}
