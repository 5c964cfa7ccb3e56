// Package algorithms knows which algorithms are offered to a host, and which keys and
// signatures are good enough. What it says only narrows: a key that it refuses is refused
// whoever trusts it.
package algorithms

import (
	"runtime"
	"slices"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/cpu"
)

// Choice are the names to offer, most wanted first, as in fleetssh.Algorithms, which is
// converted to it. The nil Choice is the default.
type Choice struct {
	KeyExchanges, Ciphers, MACs, HostKeys []string

	MoreHostKeys, NoHostKeys []string // added to the default for HostKeys, and taken from it

	UserKeys     []string // that keys may log in with; empty: any
	CASignatures []string // by which certificates of hosts may be signed; empty: any

	MinRSABits int // zero: what crypto/rsa takes
}

// The secure algorithms, strongest and fastest first. SHA-1, CBC and DSA are in
// none of the lists.
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

// ciphersFor puts AES-GCM first where the processor has AES, and ChaCha20 where
// AES would be slow.
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

// Unknown returns the first name that the SSH library does not know, and the
// list that it stands in. c may be nil.
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

// Apply fills in what is offered to a host: what the user named, and otherwise the secure
// defaults, with the host keys that are known first. c may be nil.
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

// WithCertificates returns a list of algorithms for host keys, nil for the default one,
// that asks for certificates first.
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

// changeHostKeys adds to a list of algorithms for host keys, and takes from it. One that
// is added stands behind its relatives: a key of RSA that is known is asked for with
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

// keyTypeOf returns the type of the keys that an algorithm is for: three are for RSA.
func keyTypeOf(algorithm string) string {
	switch algorithm {
	case ssh.KeyAlgoRSASHA256, ssh.KeyAlgoRSASHA512:
		return ssh.KeyAlgoRSA
	case ssh.CertAlgoRSASHA256v01, ssh.CertAlgoRSASHA512v01:
		return ssh.CertAlgoRSAv01
	}
	return algorithm
}

// certificates are the algorithms for host keys that are certificates.
var certificates = []string{
	ssh.CertAlgoED25519v01,
	ssh.CertAlgoECDSA256v01, ssh.CertAlgoECDSA384v01, ssh.CertAlgoECDSA521v01,
	ssh.CertAlgoRSASHA512v01, ssh.CertAlgoRSASHA256v01,
}

// HostKeyKinds returns the algorithms by which a host is asked for all its keys, those
// that one connection asks for in one list. Certificates come first: few hosts have any,
// and the refusal lists what the host has.
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
