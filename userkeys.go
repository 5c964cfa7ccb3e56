package fleetssh

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"
)

// keyAlgorithms are the names that UserKeys and CASignatures of [Algorithms] may hold:
// those of OpenSSH. Some are not built, such as signatures with SHA-1.
var keyAlgorithms = []string{
	ssh.KeyAlgoED25519, ssh.KeyAlgoSKED25519,
	ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521, ssh.KeyAlgoSKECDSA256, "webauthn-sk-ecdsa-sha2-nistp256@openssh.com",
	ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256, ssh.KeyAlgoRSA, ssh.InsecureKeyAlgoDSA,
	ssh.CertAlgoED25519v01, ssh.CertAlgoSKED25519v01,
	ssh.CertAlgoECDSA256v01, ssh.CertAlgoECDSA384v01, ssh.CertAlgoECDSA521v01, ssh.CertAlgoSKECDSA256v01,
	"webauthn-sk-ecdsa-sha2-nistp256-cert-v01@openssh.com",
	ssh.CertAlgoRSASHA512v01, ssh.CertAlgoRSASHA256v01, ssh.CertAlgoRSAv01, ssh.InsecureCertAlgoDSAv01,
}

// signatures returns those of the algorithms, which a key or certificate can sign with,
// that UserKeys allows. a may be nil.
func (a *Algorithms) signatures(key ssh.PublicKey, algorithms []string) []string {
	if a == nil || len(a.UserKeys) == 0 {
		return algorithms
	}
	_, certificate := key.(*ssh.Certificate)
	var allowed []string
	for _, name := range algorithms {
		full := name
		if certificate {
			full = certificateAlgorithm(name)
		}
		if slices.Contains(a.UserKeys, full) {
			allowed = append(allowed, name)
		}
	}
	return allowed
}

// permitted returns those of the login methods that may be tried.
func (a *Auth) permitted(methods []string) []string {
	if len(a.Methods) == 0 {
		return methods
	}
	return slices.DeleteFunc(slices.Clone(methods), func(name string) bool { return !slices.Contains(a.Methods, name) })
}

// unbuilt returns what UserKeys asks for and is not there, if it could be why a key was
// refused: servers older than OpenSSH 7.2 take RSA keys with SHA-1 only.
func (l *login) unbuilt() []error {
	a := l.host.Algorithms
	if a == nil || !slices.Contains(a.UserKeys, ssh.KeyAlgoRSA) && !slices.Contains(a.UserKeys, ssh.CertAlgoRSAv01) {
		return nil
	}
	for i := range l.keys {
		if l.keys[i].signer == nil {
			continue // it has not been decrypted
		}
		multi, ok := l.keys[i].signer.(ssh.MultiAlgorithmSigner)
		if t := plainKey(l.keys[i].signer.PublicKey()).Type(); t == ssh.KeyAlgoRSA && ok && !slices.Contains(multi.Algorithms(), t) {
			return []error{errors.New("signing with SHA-1 (ssh-rsa), which PubkeyAcceptedAlgorithms (UserKeys) allows, is not built: use a key of another type, or the connection of an ssh master")}
		}
	}
	return nil
}

// certificateAlgorithm returns what an algorithm is called for certificates.
func certificateAlgorithm(name string) string {
	if bare, ok := strings.CutSuffix(name, "@openssh.com"); ok {
		return bare + "-cert-v01@openssh.com"
	}
	return name + "-cert-v01@openssh.com"
}

// permit returns signer as far as it may be used: as it is, or with fewer algorithms. The
// error says why it must not be offered. a may be nil.
func (a *Algorithms) permit(signer ssh.Signer) (ssh.Signer, error) {
	if a == nil || len(a.UserKeys) == 0 && a.MinRSABits == 0 {
		return signer, nil
	}
	key := signer.PublicKey()
	algorithms := []string{plainKey(key).Type()} // as the SSH library has it
	multi, several := signer.(ssh.MultiAlgorithmSigner)
	as, one := signer.(ssh.AlgorithmSigner)
	switch {
	case several:
		algorithms = multi.Algorithms()
	case one:
		algorithms = signatureAlgorithms(key)
	}
	allowed, err := a.permits(key, algorithms)
	if err == nil && one && !several {
		return ssh.NewSignerWithAlgorithms(as, allowed)
	}
	return signer, err
}

// permits returns which of the algorithms a key or certificate may sign with, or why it
// must not be offered. a may be nil.
func (a *Algorithms) permits(key ssh.PublicKey, algorithms []string) ([]string, error) {
	if a == nil {
		return algorithms, nil
	}
	allowed := a.signatures(key, algorithms)
	err := a.checkSize(key)
	if err == nil && len(allowed) == 0 {
		err = fmt.Errorf("none of its algorithms (%s) is allowed (UserKeys; PubkeyAcceptedAlgorithms of ssh_config)", strings.Join(algorithms, ", "))
	}
	if err != nil {
		return nil, fmt.Errorf("%s %s is not offered: %w", key.Type(), ssh.FingerprintSHA256(plainKey(key)), err)
	}
	return allowed, nil
}
