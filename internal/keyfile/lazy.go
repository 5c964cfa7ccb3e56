package keyfile

import (
	"bytes"
	"errors"
	"io"

	"golang.org/x/crypto/ssh"

	"fleetssh/internal/algorithms"
)

// Lazy is a signer for an encrypted key. It calls Load to decrypt the key, which may ask the user,
// only when it signs: after the host has accepted the public half.
type Lazy struct {
	Public ssh.PublicKey
	Load   func() (ssh.Signer, error)
}

// PublicKey implements [ssh.Signer].
func (k *Lazy) PublicKey() ssh.PublicKey { return k.Public }

// Sign implements [ssh.Signer].
func (k *Lazy) Sign(rand io.Reader, data []byte) (*ssh.Signature, error) {
	return k.SignWithAlgorithm(rand, data, k.Algorithms()[0])
}

// SignWithAlgorithm implements [ssh.AlgorithmSigner].
func (k *Lazy) SignWithAlgorithm(rand io.Reader, data []byte, algorithm string) (*ssh.Signature, error) {
	signer, err := k.Load()
	if err != nil {
		return nil, err
	}
	if !Same(signer.PublicKey(), k.Public) {
		return nil, errors.New("the private key does not match its .pub file")
	}
	if as, ok := signer.(ssh.AlgorithmSigner); ok {
		return as.SignWithAlgorithm(rand, data, algorithm)
	}
	return signer.Sign(rand, data)
}

// Algorithms implements [ssh.MultiAlgorithmSigner].
func (k *Lazy) Algorithms() []string { return algorithms.Signing(k.Public) }

// Same reports whether two keys or certificates are equal.
func Same(a, b ssh.PublicKey) bool { return bytes.Equal(a.Marshal(), b.Marshal()) }
