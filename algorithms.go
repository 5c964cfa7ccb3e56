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
