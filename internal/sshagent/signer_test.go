package sshagent

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"slices"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"fleetssh/internal/sshdtest"
)

// flagged is an agent that records the flags of the last signature.
type flagged struct {
	agent.ExtendedAgent
	flags chan agent.SignatureFlags
}

func (f *flagged) SignWithFlags(key ssh.PublicKey, data []byte, flags agent.SignatureFlags) (*ssh.Signature, error) {
	f.flags <- flags
	return f.ExtendedAgent.SignWithFlags(key, data, flags)
}

// TestSigner checks that the agent is asked to sign with the requested algorithm.
func TestSigner(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	ecKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	edKey := fixedKey(t)
	ring := &flagged{newKeyring(t, rsaKey, ecKey, edKey), make(chan agent.SignatureFlags, 1)}
	a := acquire(t, newFakeAgent(t, serving(ring)))
	for _, test := range []struct {
		key       crypto.PrivateKey
		algorithm string
		flags     agent.SignatureFlags
	}{
		{rsaKey, ssh.KeyAlgoRSASHA256, agent.SignatureFlagRsaSha256},
		{rsaKey, ssh.KeyAlgoRSASHA512, agent.SignatureFlagRsaSha512},
		{rsaKey, ssh.KeyAlgoRSA, 0},
		{ecKey, ssh.KeyAlgoECDSA256, 0},
		{edKey, ssh.KeyAlgoED25519, 0},
	} {
		key := public(t, test.key)
		algorithms := []string{test.algorithm, "another"}
		s := NewSigner(t.Context, a, key, algorithms)
		var _ ssh.MultiAlgorithmSigner = s
		if !bytes.Equal(s.PublicKey().Marshal(), key.Marshal()) || !slices.Equal(s.Algorithms(), algorithms) {
			t.Errorf("%s: %v, %v", test.algorithm, s.PublicKey(), s.Algorithms())
		}
		data := []byte("data to sign")
		for _, sign := range []func() (*ssh.Signature, error){
			func() (*ssh.Signature, error) { return s.Sign(nil, data) },
			func() (*ssh.Signature, error) { return s.SignWithAlgorithm(nil, data, test.algorithm) },
		} {
			signature, err := sign()
			if err != nil {
				t.Fatalf("%s: %v", test.algorithm, err)
			}
			if signature.Format != test.algorithm || <-ring.flags != test.flags {
				t.Errorf("%s: signed with %s", test.algorithm, signature.Format)
			}
			if err := key.Verify(data, signature); err != nil {
				t.Errorf("%s: %v", test.algorithm, err)
			}
		}
	}
	// The agent does not have this key.
	unknown := ed25519.NewKeyFromSeed(slices.Repeat([]byte{1}, ed25519.SeedSize))
	if _, err := signed(t.Context(), a, unknown); err == nil {
		t.Error("signed with a key that the agent does not have")
	}
}

// TestSignerContext checks that the signer uses the current context for each signature.
func TestSignerContext(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	a := acquire(t, newFakeAgent(t, silent))
	now := t.Context()
	s := NewSigner(func() context.Context { return now }, a, public(t, fixedKey(t)), []string{ssh.KeyAlgoED25519})
	for range 2 * maxRequests {
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		now = ended
		_, err := s.Sign(nil, nil)
		wantError(t, err, context.Canceled)
	}
}

// sign signs with fixedKey.
func sign(t testing.TB, a *Agent) (*ssh.Signature, error) {
	t.Helper()
	return signed(t.Context(), a, fixedKey(t))
}

func signed(ctx context.Context, a *Agent, key ed25519.PrivateKey) (*ssh.Signature, error) {
	public, err := ssh.NewPublicKey(key.Public())
	if err != nil {
		return nil, err
	}
	s := NewSigner(func() context.Context { return ctx }, a, public, []string{ssh.KeyAlgoED25519})
	return s.Sign(nil, []byte("data"))
}
