package algorithms

import (
	"crypto/rsa"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"
)

// keyAlgorithms are the names that UserKeys and CASignatures of a [Choice] may contain: those of
// OpenSSH. Some are not supported here, such as signatures with SHA-1.
var keyAlgorithms = []string{
	ssh.KeyAlgoED25519, ssh.KeyAlgoSKED25519,
	ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521, ssh.KeyAlgoSKECDSA256, "webauthn-sk-ecdsa-sha2-nistp256@openssh.com",
	ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256, ssh.KeyAlgoRSA, ssh.InsecureKeyAlgoDSA,
	ssh.CertAlgoED25519v01, ssh.CertAlgoSKED25519v01,
	ssh.CertAlgoECDSA256v01, ssh.CertAlgoECDSA384v01, ssh.CertAlgoECDSA521v01, ssh.CertAlgoSKECDSA256v01,
	"webauthn-sk-ecdsa-sha2-nistp256-cert-v01@openssh.com",
	ssh.CertAlgoRSASHA512v01, ssh.CertAlgoRSASHA256v01, ssh.CertAlgoRSAv01, ssh.InsecureCertAlgoDSAv01,
}

// Signatures returns the signature algorithms of a key or certificate that UserKeys
// allows. c may be nil.
func (c *Choice) Signatures(key ssh.PublicKey, algorithms []string) []string {
	if c == nil || len(c.UserKeys) == 0 {
		return algorithms
	}
	_, certificate := key.(*ssh.Certificate)
	var allowed []string
	for _, name := range algorithms {
		full := name
		if certificate {
			full = certificateAlgorithm(name)
		}
		if slices.Contains(c.UserKeys, full) {
			allowed = append(allowed, name)
		}
	}
	return allowed
}

// WantsSHA1 reports whether UserKeys asks for RSA signatures with SHA-1, which are not
// supported: servers older than OpenSSH 7.2 accept no others from RSA keys. c may be nil.
func (c *Choice) WantsSHA1() bool {
	return c != nil && (slices.Contains(c.UserKeys, ssh.KeyAlgoRSA) || slices.Contains(c.UserKeys, ssh.CertAlgoRSAv01))
}

// certificateAlgorithm returns the certificate algorithm for a plain one.
func certificateAlgorithm(name string) string {
	if bare, ok := strings.CutSuffix(name, "@openssh.com"); ok {
		return bare + "-cert-v01@openssh.com"
	}
	return name + "-cert-v01@openssh.com"
}

// ErrDSA is the error for DSA keys, which are never offered.
var ErrDSA = errors.New("it is a DSA key, which is too weak to be supported")

// Permit returns signer, or one with fewer algorithms, if it may be offered to a host. The error
// says why it must not be. Every key goes through Permit before it is offered, wherever it comes
// from. c may be nil.
func (c *Choice) Permit(signer ssh.Signer) (ssh.Signer, error) {
	if PlainKey(signer.PublicKey()).Type() == ssh.InsecureKeyAlgoDSA {
		return nil, ErrDSA
	}
	if c == nil || len(c.UserKeys) == 0 && c.MinRSABits == 0 {
		return signer, nil
	}
	key := signer.PublicKey()
	algorithms := []string{PlainKey(key).Type()} // as the SSH library does
	multi, several := signer.(ssh.MultiAlgorithmSigner)
	as, one := signer.(ssh.AlgorithmSigner)
	switch {
	case several:
		algorithms = multi.Algorithms()
	case one:
		algorithms = Signing(key)
	}
	allowed, err := c.allowed(key, algorithms)
	if err == nil && one && !several {
		return ssh.NewSignerWithAlgorithms(as, allowed)
	}
	return signer, err
}

// allowed returns the algorithms that a key or certificate may sign with, or why it must not be
// offered.
func (c *Choice) allowed(key ssh.PublicKey, algorithms []string) ([]string, error) {
	allowed := c.Signatures(key, algorithms)
	err := c.CheckSize(key)
	if err == nil && len(allowed) == 0 {
		err = fmt.Errorf("none of its algorithms (%s) is allowed (UserKeys; PubkeyAcceptedAlgorithms in ssh_config)", strings.Join(algorithms, ", "))
	}
	if err != nil {
		return nil, fmt.Errorf("%s %s is not offered: %w", key.Type(), ssh.FingerprintSHA256(PlainKey(key)), err)
	}
	return allowed, nil
}

// CheckSize returns an error if a key, or the key in a certificate, is an RSA key shorter than
// MinRSABits. c may be nil.
func (c *Choice) CheckSize(key ssh.PublicKey) error {
	if c == nil || c.MinRSABits == 0 {
		return nil
	}
	public, ok := PlainKey(key).(ssh.CryptoPublicKey)
	if !ok {
		return nil
	}
	if k, ok := public.CryptoPublicKey().(*rsa.PublicKey); ok && k.N.BitLen() < c.MinRSABits {
		return fmt.Errorf("RSA with %d bits, where at least %d are required", k.N.BitLen(), c.MinRSABits)
	}
	return nil
}

// CheckCertificate returns why a host certificate must not count: its signature algorithm or
// the key of its authority is not allowed. For plain keys it returns nil. c may be nil.
func (c *Choice) CheckCertificate(key ssh.PublicKey) error {
	cert, ok := key.(*ssh.Certificate)
	if !ok || c == nil {
		return nil
	}
	if how := cert.Signature.Format; len(c.CASignatures) > 0 && !slices.Contains(c.CASignatures, how) {
		return fmt.Errorf("it is signed with %s, which is not allowed for authorities", how)
	}
	if err := c.CheckSize(cert.SignatureKey); err != nil {
		return fmt.Errorf("the authority that signed it has a key of %w", err)
	}
	return nil
}

// PlainKey returns the key in a certificate, or the key itself.
func PlainKey(key ssh.PublicKey) ssh.PublicKey {
	if cert, ok := key.(*ssh.Certificate); ok {
		return cert.Key
	}
	return key
}

// Signing returns the algorithms that a key or certificate can sign with, without SHA-1.
func Signing(key ssh.PublicKey) []string {
	switch t := key.Type(); t {
	case ssh.KeyAlgoRSA, ssh.CertAlgoRSAv01:
		return []string{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256}
	default:
		if cert, ok := key.(*ssh.Certificate); ok {
			return []string{cert.Key.Type()}
		}
		return []string{t}
	}
}
