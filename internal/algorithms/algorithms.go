// Package algorithms decides which algorithms are offered to a host, and which keys and
// signatures are strong enough. It only narrows: a key that it refuses is refused, whoever
// trusts it.
package algorithms

import (
	"runtime"
	"slices"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/cpu"
)

// Choice holds the algorithms to offer, in order of preference, as in fleetssh.Algorithms, which
// is converted to it. An empty list means the default, as does the nil Choice.
type Choice struct {
	KeyExchanges, Ciphers, MACs, HostKeys []string

	MoreHostKeys, NoHostKeys []string // added to the default of HostKeys, and removed from it

	UserKeys     []string // signature algorithms for logging in with keys; empty: any
	CASignatures []string // signature algorithms for host certificates; empty: any

	MinRSABits int // the minimum length of RSA keys; zero: the minimum of crypto/rsa
}

// The secure algorithms, strongest and fastest first; host keys in the order of OpenSSH. None of
// the lists contains SHA-1, CBC or DSA.
var (
	secureHostKeys = []string{
		ssh.KeyAlgoED25519,
		ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521,
		ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256,
	}
	secureKeyExchanges = []string{
		ssh.KeyExchangeMLKEM768X25519, ssh.KeyExchangeCurve25519,
		ssh.KeyExchangeECDHP256, ssh.KeyExchangeECDHP384, ssh.KeyExchangeECDHP521,
		ssh.KeyExchangeDH14SHA256, ssh.KeyExchangeDH16SHA512, ssh.KeyExchangeDHGEXSHA256,
	}
	secureMACs = []string{
		ssh.HMACSHA256ETM, ssh.HMACSHA512ETM, ssh.HMACSHA256, ssh.HMACSHA512,
	}
	secureCiphers = ciphersFor(hasAES())
)

// ciphersFor prefers AES-GCM if the processor has AES instructions, and ChaCha20 otherwise,
// because AES would be slow.
func ciphersFor(aes bool) []string {
	gcm := []string{ssh.CipherAES128GCM, ssh.CipherAES256GCM}
	ctr := []string{ssh.CipherAES128CTR, ssh.CipherAES192CTR, ssh.CipherAES256CTR}
	if aes {
		return slices.Concat(gcm, []string{ssh.CipherChaCha20Poly1305}, ctr)
	}
	return slices.Concat([]string{ssh.CipherChaCha20Poly1305}, gcm, ctr)
}

func hasAES() bool {
	switch runtime.GOARCH {
	case "amd64":
		return cpu.X86.HasAES && cpu.X86.HasPCLMULQDQ
	case "arm64":
		return cpu.ARM64.HasAES || runtime.GOOS == "darwin"
	case "s390x", "ppc64le":
		return true
	}
	return false
}

// Unknown returns the first name that the SSH library does not know, and the list that contains
// it. c may be nil.
func (c *Choice) Unknown() (list, name string, found bool) {
	if c == nil {
		return "", "", false
	}
	good, weak := ssh.SupportedAlgorithms(), ssh.InsecureAlgorithms()
	for _, l := range []struct {
		list                string
		names, secure, weak []string
	}{
		{"KeyExchanges", c.KeyExchanges, good.KeyExchanges, weak.KeyExchanges},
		{"Ciphers", c.Ciphers, good.Ciphers, weak.Ciphers},
		{"MACs", c.MACs, good.MACs, weak.MACs},
		{"HostKeys", c.HostKeys, good.HostKeys, weak.HostKeys},
		{"MoreHostKeys", c.MoreHostKeys, good.HostKeys, weak.HostKeys},
		{"NoHostKeys", c.NoHostKeys, good.HostKeys, weak.HostKeys},
		{"UserKeys", c.UserKeys, keyAlgorithms, nil},
		{"CASignatures", c.CASignatures, keyAlgorithms, nil},
	} {
		for _, name := range l.names {
			if !slices.Contains(l.secure, name) && !slices.Contains(l.weak, name) {
				return l.list, name, true
			}
		}
	}
	return "", "", false
}

// Apply sets the algorithms to offer to a host: those of c, and the secure defaults where c has
// none. knownHostKeys, if not nil, replaces the default for host keys. c may be nil.
func (c *Choice) Apply(config *ssh.ClientConfig, knownHostKeys []string) {
	config.KeyExchanges, config.Ciphers, config.MACs = secureKeyExchanges, secureCiphers, secureMACs
	config.HostKeyAlgorithms = secureHostKeys
	if knownHostKeys != nil {
		config.HostKeyAlgorithms = knownHostKeys
	}
	if c == nil {
		return
	}
	config.HostKeyAlgorithms = c.changeHostKeys(config.HostKeyAlgorithms)
	if len(c.KeyExchanges) > 0 {
		config.KeyExchanges = c.KeyExchanges
	}
	if len(c.Ciphers) > 0 {
		config.Ciphers = c.Ciphers
	}
	if len(c.MACs) > 0 {
		config.MACs = c.MACs
	}
	if len(c.HostKeys) > 0 {
		config.HostKeyAlgorithms = c.HostKeys
	}
}

// HostKeys returns the secure algorithms for plain host keys, in the order of OpenSSH.
func HostKeys() []string { return slices.Clone(secureHostKeys) }

// HostCertificates returns the secure algorithms for host certificates.
func HostCertificates() []string { return slices.Clone(certificates) }

// WithCertificates returns list, or the default if list is nil, with the algorithms for host
// certificates before it.
func WithCertificates(list []string) []string {
	if list == nil {
		list = secureHostKeys
	}
	all := slices.Clone(certificates)
	for _, name := range list {
		if !slices.Contains(all, name) {
			all = append(all, name)
		}
	}
	return all
}

// changeHostKeys applies MoreHostKeys and NoHostKeys to a list of algorithms for host keys. An
// added algorithm comes after those for the same type of key: a known RSA key is asked for with
// SHA-1 before a key of another type is.
func (c *Choice) changeHostKeys(list []string) []string {
	if len(c.MoreHostKeys) == 0 && len(c.NoHostKeys) == 0 {
		return list
	}
	list = slices.DeleteFunc(slices.Clone(list), func(name string) bool { return slices.Contains(c.NoHostKeys, name) })
	for _, name := range c.MoreHostKeys {
		if slices.Contains(list, name) {
			continue
		}
		at := len(list)
		for i, other := range list {
			if keyTypeOf(other) == keyTypeOf(name) {
				at = i + 1
			}
		}
		list = slices.Insert(list, at, name)
	}
	return list
}

// keyTypeOf returns the type of key that an algorithm uses. RSA keys have three algorithms.
func keyTypeOf(algorithm string) string {
	switch algorithm {
	case ssh.KeyAlgoRSASHA256, ssh.KeyAlgoRSASHA512:
		return ssh.KeyAlgoRSA
	case ssh.CertAlgoRSASHA256v01, ssh.CertAlgoRSASHA512v01:
		return ssh.CertAlgoRSAv01
	}
	return algorithm
}

// certificates are the secure algorithms for host certificates.
var certificates = []string{
	ssh.CertAlgoED25519v01,
	ssh.CertAlgoECDSA256v01, ssh.CertAlgoECDSA384v01, ssh.CertAlgoECDSA521v01,
	ssh.CertAlgoRSASHA512v01, ssh.CertAlgoRSASHA256v01,
}

// HostKeyKinds returns the algorithms with which a scan asks a host for all its keys: one list
// for each connection. Certificates come first: few hosts have any, and the refusal lists the
// algorithms that the host has.
func HostKeyKinds() [][]string {
	return [][]string{
		certificates,
		{ssh.KeyAlgoED25519},
		{ssh.KeyAlgoECDSA256},
		{ssh.KeyAlgoECDSA384},
		{ssh.KeyAlgoECDSA521},
		{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256},
	}
}
