package knownhosts

import (
	"cmp"
	"slices"

	"golang.org/x/crypto/ssh"
)

// maxExact is the number of hashed lines up to which Algorithms looks at each.
// Two hundred take 50 µs, an eighth of what a connection takes.
const maxExact = 200

// Algorithms returns the host key algorithms to ask a host for, most wanted
// first, or nil if no line is about the host. The list is
//
//   - all certificate algorithms, if an authority is listed for the host, or a key is
//     revoked that may be that of one,
//   - those of the types of the keys that are known for it, Ed25519 first, then
//     ECDSA, then RSA,
//   - the other secure ones for plain keys, so that a host which no longer has
//     a known key shows another one, instead of finding no common algorithm.
//
// With more than 200 hashed lines it does not look for the host in these, but
// goes by the types that most of them have. Then the list is not nil for an
// unknown host, and a known host may show a key of a type that is not known for
// it: the error of [DB.Check] has the list for a second attempt then.
func (db *DB) Algorithms(host string, port int) []string { return Union{db}.Algorithms(host, port) }

// algorithms returns the list for key types, the first first.
func algorithms(types []string, certified bool) []string {
	if len(types) == 0 && !certified {
		return nil
	}
	var list []string
	if certified {
		list = append(list, certificateAlgorithms()...)
	}
	list = append(list, algorithmsOf(types)...)
	for _, a := range plainAlgorithms() {
		if !slices.Contains(list, a) {
			list = append(list, a)
		}
	}
	return list
}

// knownTypes returns the key types that a host is known by, and whether an authority is
// listed for it.
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

// likelyTypes returns the key types of the hashed lines, those that most have first, if
// there are too many to look for a host in.
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

// byPreference compares key types as plainAlgorithms orders them, others last.
func byPreference(a, b string) int {
	rank := func(t string) int {
		order := algorithmsOf([]string{t})
		if len(order) == 0 || !slices.Contains(plainAlgorithms(), order[0]) {
			return len(plainAlgorithms())
		}
		return slices.Index(plainAlgorithms(), order[0])
	}
	return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a, b))
}

// certificateAlgorithms are the secure ones. All of them, for an authority may
// sign keys of other types than its own.
func certificateAlgorithms() []string {
	return []string{
		ssh.CertAlgoED25519v01,
		ssh.CertAlgoECDSA256v01, ssh.CertAlgoECDSA384v01, ssh.CertAlgoECDSA521v01,
		ssh.CertAlgoRSASHA512v01, ssh.CertAlgoRSASHA256v01,
	}
}

// plainAlgorithms are the secure ones, in the order of OpenSSH.
func plainAlgorithms() []string {
	return []string{
		ssh.KeyAlgoED25519,
		ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521,
		ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256,
	}
}

// algorithmsOf returns the secure algorithms for key types, each once. DSA and
// certificates have none.
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

// isKeyType reports whether a line with a key of this type counts. A
// certificate in a line is no host's key, but makes others a changed key.
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
