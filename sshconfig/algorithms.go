package sshconfig

import (
	"slices"
	"strconv"
	"strings"

	"golang.org/x/crypto/ssh"

	"fleetssh"
)

// A suite is one kind of algorithm.
type suite struct {
	key       *keyword
	ofKeys    bool     // key algorithms, which may be given as patterns
	preferred []string // offered by default, in order of preference
	others    []string // weak algorithms, which are not offered by default
	unbuilt   []string // weak algorithms that fleetssh does not implement
	list      func(*fleetssh.Algorithms) *[]string
}

// suites are the kinds of algorithms that can be configured.
var suites = []suite{
	newSuite(keyCiphers, ssh.SupportedAlgorithms().Ciphers, ssh.InsecureAlgorithms().Ciphers,
		func(a *fleetssh.Algorithms) *[]string { return &a.Ciphers }),
	newSuite(keyKexAlgorithms, ssh.SupportedAlgorithms().KeyExchanges, ssh.InsecureAlgorithms().KeyExchanges,
		func(a *fleetssh.Algorithms) *[]string { return &a.KeyExchanges }),
	newSuite(keyMACs, ssh.SupportedAlgorithms().MACs, ssh.InsecureAlgorithms().MACs,
		func(a *fleetssh.Algorithms) *[]string { return &a.MACs }),
	hostKeySuite,
	{
		key:       keyPubkeyAccepted,
		ofKeys:    true,
		preferred: slices.Concat(certificateTypes, hardwareCertificateTypes, keyTypes, hardwareTypes),
		others:    []string{ssh.KeyAlgoRSA, ssh.CertAlgoRSAv01},
		unbuilt:   []string{ssh.KeyAlgoRSA, ssh.CertAlgoRSAv01},
		list:      func(a *fleetssh.Algorithms) *[]string { return &a.UserKeys },
	},
	{
		key:       keyCASignatures,
		ofKeys:    true,
		preferred: slices.Concat(keyTypes, hardwareTypes),
		others:    []string{ssh.KeyAlgoRSA},
		unbuilt:   []string{ssh.KeyAlgoRSA},
		list:      func(a *fleetssh.Algorithms) *[]string { return &a.CASignatures },
	},
}

// Key algorithms, in OpenSSH's order.
var (
	certificateTypes = []string{
		ssh.CertAlgoED25519v01, ssh.CertAlgoECDSA256v01, ssh.CertAlgoECDSA384v01, ssh.CertAlgoECDSA521v01,
		ssh.CertAlgoRSASHA512v01, ssh.CertAlgoRSASHA256v01,
	}
	keyTypes = []string{
		ssh.KeyAlgoED25519, ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521,
		ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256,
	}
	hardwareCertificateTypes = []string{ssh.CertAlgoSKED25519v01, ssh.CertAlgoSKECDSA256v01}
	hardwareTypes            = []string{ssh.KeyAlgoSKED25519, ssh.KeyAlgoSKECDSA256}
)

// patternOrder is ssh's order of the algorithms that match a pattern.
var patternOrder = []string{
	ssh.KeyAlgoED25519, ssh.CertAlgoED25519v01, ssh.KeyAlgoSKED25519, ssh.CertAlgoSKED25519v01,
	ssh.KeyAlgoECDSA256, ssh.CertAlgoECDSA256v01, ssh.KeyAlgoECDSA384, ssh.CertAlgoECDSA384v01,
	ssh.KeyAlgoECDSA521, ssh.CertAlgoECDSA521v01, ssh.KeyAlgoSKECDSA256, ssh.CertAlgoSKECDSA256v01,
	ssh.InsecureKeyAlgoDSA, ssh.InsecureCertAlgoDSAv01, ssh.KeyAlgoRSA, ssh.CertAlgoRSAv01,
	ssh.KeyAlgoRSASHA256, ssh.CertAlgoRSASHA256v01, ssh.KeyAlgoRSASHA512, ssh.CertAlgoRSASHA512v01,
}

// hostKeySuite prefers certificates, as ssh does.
var hostKeySuite = suite{
	key:       keyHostKeyAlgorithms,
	ofKeys:    true,
	preferred: slices.Concat(certificateTypes, keyTypes),
	others:    ssh.InsecureAlgorithms().HostKeys,
	list:      func(a *fleetssh.Algorithms) *[]string { return &a.HostKeys },
}

// newSuite returns a suite in which algorithms with SHA-1 are weak, as in fleetssh.
func newSuite(key *keyword, good, weak []string, list func(*fleetssh.Algorithms) *[]string) suite {
	s := suite{key: key, others: weak, list: list}
	for _, name := range good {
		if strings.Contains(name, "sha1") {
			s.others = append(s.others, name)
		} else {
			s.preferred = append(s.preferred, name)
		}
	}
	return s
}

// wanted returns the algorithms in a value that fleetssh has, and the names of those that it does
// not have.
func (s *suite) wanted(value string) (list, missing []string) {
	all := slices.Concat(s.preferred, s.others)
	var patterns []string // candidates for patterns, which only key algorithms may be
	if s.ofKeys {
		patterns = slices.DeleteFunc(slices.Clone(patternOrder), func(name string) bool { return !slices.Contains(all, name) })
	}
	for _, name := range assemble(value, s.preferred, patterns) {
		name = strings.TrimSuffix(name, "@libssh.org") // curve25519-sha256 has two names
		switch {
		case slices.Contains(list, name):
		case slices.Contains(all, name):
			list = append(list, name)
		default:
			missing = append(missing, name)
		}
	}
	return list, missing
}

// assemble applies the value of a keyword to the default list: a leading "+" appends algorithms,
// "-" removes those that match patterns, "^" puts algorithms at the head, and otherwise the value
// replaces the list. If all is not nil, names may be patterns for the algorithms in all. See
// ssh_config(5), "Ciphers".
func assemble(value string, preferred, all []string) []string {
	mode := byte(0)
	if value != "" && strings.IndexByte("+-^", value[0]) >= 0 {
		mode, value = value[0], value[1:]
	}
	if mode == '-' {
		return slices.DeleteFunc(slices.Clone(preferred), func(name string) bool { return matchesList(value, name) })
	}
	var named []string
	for name := range strings.SplitSeq(value, ",") {
		found := []string{name}
		if all != nil && strings.ContainsAny(name, "*?") {
			found = slices.DeleteFunc(slices.Clone(all), func(known string) bool { return !matches(name, known) })
		}
		named = appendNew(named, slices.DeleteFunc(found, func(name string) bool { return name == "" }))
	}
	switch mode {
	case '+':
		return appendNew(preferred, named)
	case '^':
		return appendNew(named, preferred)
	}
	return named
}

// appendNew returns a followed by the elements of b that are not in a.
func appendNew(a, b []string) []string {
	all := slices.Clone(a)
	for _, name := range b {
		if !slices.Contains(all, name) {
			all = append(all, name)
		}
	}
	return all
}

// algorithms returns given with the lists of the configuration where given has none.
func (s *Settings) algorithms(given *fleetssh.Algorithms) (*fleetssh.Algorithms, error) {
	var all fleetssh.Algorithms
	if given != nil {
		all = *given
	}
	changed := false
	for _, suite := range suites {
		l, list := s.first(suite.key), suite.list(&all)
		if l == nil || len(*list) > 0 {
			continue
		}
		wanted, missing := suite.wanted(l.values[0])
		if len(wanted) == 0 {
			return nil, l.at.errorf("%s: no algorithm is left of %q (fleetssh has no %s)", suite.key.name, l.text, strings.Join(missing, ", "))
		}
		if suite.key == keyHostKeyAlgorithms && orderedByKnown(l.values[0]) {
			all.MoreHostKeys, all.NoHostKeys = without(wanted, suite.preferred), without(suite.preferred, wanted)
			changed = true
			continue
		}
		*list, changed = wanted, true
	}
	if bits, err := strconv.Atoi(s.one(keyRequiredRSASize)); err == nil && all.MinRSABits == 0 && bits > 0 {
		all.MinRSABits, changed = bits, true
	}
	if !changed {
		return given, nil
	}
	return &all, nil
}

// without returns the elements of a that are not in b.
func without(a, b []string) []string {
	return slices.DeleteFunc(slices.Clone(a), func(name string) bool { return slices.Contains(b, name) })
}

// orderedByKnown reports whether the types of known keys of a host still come first. In ssh they
// do if HostKeyAlgorithms only adds to the default list or removes from it.
func orderedByKnown(value string) bool {
	return strings.HasPrefix(value, "+") || strings.HasPrefix(value, "-")
}
