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
	ofKeys    bool     // and not of ciphers, say
	preferred []string // what is offered by default, most wanted first
	others    []string // what is known besides: it is weak
	unbuilt   []string // of these, what a line may allow but fleetssh cannot do
	list      func(*fleetssh.Algorithms) *[]string
}

// suites are the kinds of algorithms that fleetssh can be told.
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

// The algorithms of keys, in the order of OpenSSH.
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

// patternOrder is the order in which ssh has the algorithms that a pattern stands for.
var patternOrder = []string{
	ssh.KeyAlgoED25519, ssh.CertAlgoED25519v01, ssh.KeyAlgoSKED25519, ssh.CertAlgoSKED25519v01,
	ssh.KeyAlgoECDSA256, ssh.CertAlgoECDSA256v01, ssh.KeyAlgoECDSA384, ssh.CertAlgoECDSA384v01,
	ssh.KeyAlgoECDSA521, ssh.CertAlgoECDSA521v01, ssh.KeyAlgoSKECDSA256, ssh.CertAlgoSKECDSA256v01,
	ssh.InsecureKeyAlgoDSA, ssh.InsecureCertAlgoDSAv01, ssh.KeyAlgoRSA, ssh.CertAlgoRSAv01,
	ssh.KeyAlgoRSASHA256, ssh.CertAlgoRSASHA256v01, ssh.KeyAlgoRSASHA512, ssh.CertAlgoRSASHA512v01,
}

// hostKeySuite has certificates first, as ssh.
var hostKeySuite = suite{
	key:       keyHostKeyAlgorithms,
	ofKeys:    true,
	preferred: slices.Concat(certificateTypes, keyTypes),
	others:    ssh.InsecureAlgorithms().HostKeys,
	list:      func(a *fleetssh.Algorithms) *[]string { return &a.HostKeys },
}

// newSuite takes SHA-1 for weak, as fleetssh does.
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

// wanted returns the algorithms that a value names, of those that fleetssh has, and
// the names that it has not.
func (s *suite) wanted(value string) (list, missing []string) {
	all := slices.Concat(s.preferred, s.others)
	var patterns []string // what they stand for: only names of keys may be patterns
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

// assemble applies a list of algorithms to the default one: "+" in front adds to it,
// "-" takes patterns away from it, "^" puts to its head, and without any of them it
// is replaced. A name may be a pattern for those in all. ssh_config(5), "Ciphers".
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

// appendNew returns a, and what of b is not in it.
func appendNew(a, b []string) []string {
	all := slices.Clone(a)
	for _, name := range b {
		if !slices.Contains(all, name) {
			all = append(all, name)
		}
	}
	return all
}

// algorithms fills in the lists of the configuration where given has none.
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

// without returns what of a is not in b.
func without(a, b []string) []string {
	return slices.DeleteFunc(slices.Clone(a), func(name string) bool { return slices.Contains(b, name) })
}

// orderedByKnown reports whether what is known for a host still comes first, as it
// does for ssh where HostKeyAlgorithms only adds to the default or takes from it.
func orderedByKnown(value string) bool {
	return strings.HasPrefix(value, "+") || strings.HasPrefix(value, "-")
}
