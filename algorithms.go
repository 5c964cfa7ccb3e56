package fleetssh

import (
	"runtime"
	"slices"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/cpu"
)

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

// unknown returns the first name that the SSH library does not know, and the
// list that it stands in. a may be nil.
func (a *Algorithms) unknown() (list, name string, found bool) {
	if a == nil {
		return "", "", false
	}
	good, weak := ssh.SupportedAlgorithms(), ssh.InsecureAlgorithms()
	for _, c := range []struct {
		list                string
		names, secure, weak []string
	}{
		{"KeyExchanges", a.KeyExchanges, good.KeyExchanges, weak.KeyExchanges},
		{"Ciphers", a.Ciphers, good.Ciphers, weak.Ciphers},
		{"MACs", a.MACs, good.MACs, weak.MACs},
		{"HostKeys", a.HostKeys, good.HostKeys, weak.HostKeys},
		{"MoreHostKeys", a.MoreHostKeys, good.HostKeys, weak.HostKeys},
		{"NoHostKeys", a.NoHostKeys, good.HostKeys, weak.HostKeys},
		{"UserKeys", a.UserKeys, keyAlgorithms, nil},
		{"CASignatures", a.CASignatures, keyAlgorithms, nil},
	} {
		for _, name := range c.names {
			if !slices.Contains(c.secure, name) && !slices.Contains(c.weak, name) {
				return c.list, name, true
			}
		}
	}
	return "", "", false
}

// setAlgorithms fills in what is offered to a host: what the user named, and
// otherwise the secure defaults, with the host keys that are known first.
func setAlgorithms(config *ssh.ClientConfig, a *Algorithms, knownHostKeys []string) {
	config.KeyExchanges, config.Ciphers, config.MACs = secureKeyExchanges, secureCiphers, secureMACs
	config.HostKeyAlgorithms = secureHostKeys
	if knownHostKeys != nil {
		config.HostKeyAlgorithms = knownHostKeys
	}
	if a == nil {
		return
	}
	config.HostKeyAlgorithms = a.changeHostKeys(config.HostKeyAlgorithms)
	if len(a.KeyExchanges) > 0 {
		config.KeyExchanges = a.KeyExchanges
	}
	if len(a.Ciphers) > 0 {
		config.Ciphers = a.Ciphers
	}
	if len(a.MACs) > 0 {
		config.MACs = a.MACs
	}
	if len(a.HostKeys) > 0 {
		config.HostKeyAlgorithms = a.HostKeys
	}
}

// withCertificates returns a list of algorithms for host keys, nil for the default one,
// that asks for certificates first.
func withCertificates(list []string) []string {
	if list == nil {
		list = secureHostKeys
	}
	all := slices.Clone(keyKinds[0])
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
func (a *Algorithms) changeHostKeys(list []string) []string {
	if len(a.MoreHostKeys) == 0 && len(a.NoHostKeys) == 0 {
		return list
	}
	list = slices.DeleteFunc(slices.Clone(list), func(name string) bool { return slices.Contains(a.NoHostKeys, name) })
	for _, name := range a.MoreHostKeys {
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
