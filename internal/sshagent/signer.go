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

// NewSigner returns a signer for a key of an agent, with the signature algorithms of the key. It
// calls ctx for each signature; the context ends the wait for the agent.
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
			return errRefused
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return <-answer, nil
}

// errRefused is the error if the agent refuses to sign. The agent gives no reason.
var errRefused = errors.New("it refused to sign: the use of the key was not confirmed, or the key is bound to certain hosts (ssh-add -h), which is not supported")

// Algorithms implements [ssh.MultiAlgorithmSigner].
func (s *Signer) Algorithms() []string { return s.algorithms }
