package knownhosts

import (
	"cmp"
	"slices"

	"golang.org/x/crypto/ssh"

	"fleetssh/internal/algorithms"
)

// maxExact is the number of hashed lines up to which Algorithms checks each one. Two hundred
// take 50 µs, an eighth of the time for a connection.
const maxExact = 200

// Algorithms returns the host key algorithms to ask a host for, in order of preference, or nil
// if no line is about the host. The list contains
//
//   - all certificate algorithms, if an authority is listed for the host, or a revoked key may
//     be that of an authority,
//   - the algorithms of the keys that are known for the host, Ed25519 first, then ECDSA, then
//     RSA,
//   - the other secure algorithms for plain keys, so that a host that no longer has a known key
//     shows another one, instead of finding no common algorithm.
//
// With more than 200 hashed lines, it does not search them for the host, but prefers the types
// that most of them have. Then the list is not nil for an unknown host, and a known host may
// show a key of a type that is not known for it: the error of [DB.Check] has the list for a
// second attempt.
func (db *DB) Algorithms(host string, port int) []string { return Union{db}.Algorithms(host, port) }

// hostKeyAlgorithms returns the list for known key types, in their order.
func hostKeyAlgorithms(types []string, certified bool) []string {
	if len(types) == 0 && !certified {
		return nil
	}
	var list []string
	if certified {
		list = append(list, algorithms.HostCertificates()...)
	}
	list = append(list, algorithmsOf(types)...)
	for _, a := range algorithms.HostKeys() {
		if !slices.Contains(list, a) {
			list = append(list, a)
		}
	}
	return list
}

// knownTypes returns the types of the keys that are listed for a host, and whether an authority
// is listed for it.
func (db *DB) knownTypes(names []string) (types []string, certified bool) {
	db.mu.RLock()
	defer db.mu.RUnlock()
	exact := len(db.index.hashed) <= maxExact
	for _, name := range names {
		var found []string
		for l := range db.index.lines(name) {
			if l.marker == authority {
				certified = true
			} else {
				found = append(found, l.keyType)
			}
		}
		if exact {
			for _, l := range db.scans.lines(name, db.index.hashed) {
				found = append(found, l.keyType)
			}
		}
		if len(types) == 0 {
			types = found
		}
	}
	return types, certified
}

// likelyTypes returns the key types of the hashed lines, the most frequent first, if there are
// too many lines to search for a host.
func (db *DB) likelyTypes() []string {
	db.mu.RLock()
	defer db.mu.RUnlock()
	if len(db.index.hashed) <= maxExact {
		return nil
	}
	return byFrequency(db.index.hashedTypes)
}

func byFrequency(count map[string]int) []string {
	var types []string
	for t := range count {
		types = append(types, t)
	}
	slices.SortFunc(types, func(a, b string) int {
		return cmp.Or(cmp.Compare(count[b], count[a]), byPreference(a, b))
	})
	return types
}

// byPreference compares key types in the order of algorithms.HostKeys, others last.
func byPreference(a, b string) int {
	rank := func(t string) int {
		order := algorithmsOf([]string{t})
		if len(order) == 0 || !slices.Contains(algorithms.HostKeys(), order[0]) {
			return len(algorithms.HostKeys())
		}
		return slices.Index(algorithms.HostKeys(), order[0])
	}
	return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a, b))
}

// algorithmsOf returns the secure algorithms for key types, each once. DSA and certificates have
// none.
func algorithmsOf(types []string) []string {
	var list []string
	add := func(names ...string) {
		if !slices.Contains(list, names[0]) {
			list = append(list, names...)
		}
	}
	for _, t := range types {
		switch t {
		case ssh.KeyAlgoED25519, ssh.KeyAlgoSKED25519, ssh.KeyAlgoSKECDSA256,
			ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521:
			add(t)
		case ssh.KeyAlgoRSA:
			add(ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256)
		}
	}
	return list
}

// isKeyType reports whether a line with a key of this type counts. A certificate in a line is
// not the key of any host, but it makes every other key a changed one.
func isKeyType(t string) bool {
	switch t {
	case ssh.KeyAlgoRSA, ssh.InsecureKeyAlgoDSA, ssh.KeyAlgoED25519, ssh.KeyAlgoSKED25519,
		ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521, ssh.KeyAlgoSKECDSA256,
		ssh.CertAlgoRSAv01, ssh.InsecureCertAlgoDSAv01, ssh.CertAlgoED25519v01, ssh.CertAlgoSKED25519v01,
		ssh.CertAlgoECDSA256v01, ssh.CertAlgoECDSA384v01, ssh.CertAlgoECDSA521v01, ssh.CertAlgoSKECDSA256v01:
		return true
	}
	return false
}
