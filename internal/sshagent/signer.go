package sshagent

import (
	"context"
	"errors"
	"io"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

// Signer is a key of an agent.
type Signer struct {
	ctx        func() context.Context
	agent      *Agent
	key        ssh.PublicKey
	algorithms []string
}

// NewSigner returns a key that agent is said to hold, which signs with one of the
// algorithms. ctx is asked for whenever it signs, and bounds that.
func NewSigner(ctx func() context.Context, agent *Agent, key ssh.PublicKey, algorithms []string) *Signer {
	return &Signer{ctx, agent, key, algorithms}
}

// PublicKey implements [ssh.Signer].
func (s *Signer) PublicKey() ssh.PublicKey { return s.key }

// Sign implements [ssh.Signer], with the first of the algorithms.
func (s *Signer) Sign(rand io.Reader, data []byte) (*ssh.Signature, error) {
	return s.SignWithAlgorithm(rand, data, s.algorithms[0])
}

// SignWithAlgorithm implements [ssh.AlgorithmSigner].
func (s *Signer) SignWithAlgorithm(_ io.Reader, data []byte, algorithm string) (*ssh.Signature, error) {
	var flags agent.SignatureFlags
	switch algorithm {
	case ssh.KeyAlgoRSASHA256:
		flags = agent.SignatureFlagRsaSha256
	case ssh.KeyAlgoRSASHA512:
		flags = agent.SignatureFlagRsaSha512
	}
	answer := make(chan *ssh.Signature, 1) // the request may outlive this call
	err := s.agent.do(s.ctx(), func(client agent.ExtendedAgent) error {
		sig, err := client.SignWithFlags(s.key, data, flags)
		switch {
		case err == nil:
			answer <- sig
		case s.agent.works(client):
			return errUnwilling
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return <-answer, nil
}

// errUnwilling is what becomes of an agent's refusal, which gives no reason.
var errUnwilling = errors.New("it did not sign: the use of the key was not confirmed, or the key is bound to certain hosts (ssh-add -h), which is not supported")

// Algorithms implements [ssh.MultiAlgorithmSigner].
func (s *Signer) Algorithms() []string { return s.algorithms }
