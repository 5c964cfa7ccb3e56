package identity

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/crypto/ssh"

	"fleetssh/internal/algorithms"
	"fleetssh/internal/keyfile"
	"fleetssh/internal/sshagent"
)

// An Identity is one key or certificate to offer to a host.
type Identity struct {
	Signer ssh.Signer // nil until Open has been called
	Source string     // where it comes from, in words
	Asks   bool       // signing may put a question to the user

	load       func() (ssh.Signer, error) // of a key whose public half is not known; nil if Signer is set
	algorithms *algorithms.Choice
}

// Open decrypts a key whose public half is not known, which may mean asking.
func (id *Identity) Open() error {
	if id.Signer != nil {
		return nil
	}
	signer, err := id.load()
	if err == nil {
		signer, err = id.algorithms.Permit(signer)
	}
	if err == nil {
		id.Signer = signer
	}
	return err
}

// Describe names the key or certificate for an error.
func (id *Identity) Describe() string {
	return fmt.Sprintf("%s (%s)", id.Source, ssh.FingerprintSHA256(algorithms.PlainKey(id.Signer.PublicKey())))
}

// errNoneHeld is about an agent that lists nothing: a locked one does not say that it is.
var errNoneHeld = errors.New("the SSH agent lists no keys: it is empty, or locked (ssh-add -X unlocks it)")

// offers are the identities of one host, as they are put in order.
type offers struct {
	c       *Credentials
	ctx     func() context.Context
	list    []*Identity
	offered map[string]bool        // by the bytes of the key or certificate
	signers map[string]*Identity   // who signs for a key, by its bytes
	certs   map[string][]namedCert // that are beside keys, by the bytes of the key
}

// All returns what to offer, in the order of ssh: the certificates that are named by
// themselves; the keys of the agent that are named; the others of the agent, unless
// only named ones are wanted; and then the named keys that are not in the agent. In
// front of each key stand the certificates for it. Nothing is offered twice.
//
// A key that is in the agent and in a file that is not encrypted signs from the file:
// an agent signs one thing at a time. ctx is asked for again whenever the agent is to
// sign.
func (c *Credentials) All(ctx func() context.Context) []*Identity {
	o := &offers{
		c: c, ctx: ctx,
		offered: make(map[string]bool), signers: make(map[string]*Identity), certs: make(map[string][]namedCert),
	}
	held := c.list(ctx())
	o.collect(held)
	for _, n := range c.certs {
		o.addCert(n)
	}
	for _, k := range held {
		if o.named(k) {
			o.addHeld(k)
		}
	}
	if !c.only {
		for _, k := range held {
			o.addHeld(k)
		}
	}
	for _, n := range c.keys {
		o.addNamed(n)
	}
	switch {
	case c.config.OnlyNamed() || c.agent == nil:
	case c.heldErr != nil:
		c.notes = append(c.notes, c.heldErr)
	case len(held) == 0 && len(o.list) == 0 && c.listed:
		c.notes = append(c.notes, errNoneHeld)
	}
	return o.list
}

// collect finds out who signs for which key, and which certificates belong to it.
func (o *offers) collect(held []heldKey) {
	signs := func(public ssh.PublicKey, id *Identity) {
		if blob := string(public.Marshal()); o.signers[blob] == nil {
			o.signers[blob] = id
		}
	}
	for _, n := range o.c.keys {
		for _, cert := range n.certs {
			blob := string(cert.Key.Marshal())
			o.certs[blob] = append(o.certs[blob], namedCert{cert: cert, path: n.path, source: "certificate for the " + n.source})
		}
		if _, lazy := n.signer.(*keyfile.Lazy); n.signer != nil && !lazy {
			signs(n.signer.PublicKey(), &Identity{Signer: n.signer, Source: n.source})
		}
	}
	// Those that the agent has as keys first: one that it has as a certificate only is
	// asked for by that.
	for _, wantCert := range []bool{false, true} {
		for _, k := range held {
			if (k.cert != nil) == wantCert {
				signs(k.plain, &Identity{Signer: o.heldSigner(k), Source: "SSH agent (" + k.comment + ")"})
			}
		}
	}
	for _, n := range o.c.keys {
		if lazy, ok := n.signer.(*keyfile.Lazy); ok {
			signs(lazy.Public, &Identity{Signer: lazy, Source: n.source, Asks: true})
		}
	}
}

// heldSigner lets the agent sign for the plain key of what it holds.
func (o *offers) heldSigner(k heldKey) ssh.Signer {
	signer := sshagent.NewSigner(o.ctx, o.c.agent, k.public, algorithms.Signing(k.public))
	if k.cert == nil {
		return signer
	}
	return &otherHalf{signer, k.plain}
}

// otherHalf signs for a key with what is known under another name.
type otherHalf struct {
	ssh.MultiAlgorithmSigner
	public ssh.PublicKey
}

// PublicKey implements [ssh.Signer].
func (s *otherHalf) PublicKey() ssh.PublicKey { return s.public }

// named reports whether a key or certificate of the agent is among those that the
// configuration names. A certificate is if it is itself, or if its key is and nothing
// says that only what is named is wanted.
func (o *offers) named(k heldKey) bool {
	for _, n := range o.c.keys {
		for _, cert := range n.certs {
			if k.cert != nil && keyfile.Same(cert, k.public) {
				return true
			}
		}
		if k.cert != nil && o.c.certsOnly {
			continue
		}
		for _, public := range n.publics {
			if keyfile.Same(public, k.plain) {
				return true
			}
		}
	}
	return false
}

// addHeld adds a key or certificate of the agent.
func (o *offers) addHeld(k heldKey) {
	if k.cert == nil {
		o.addKey(k.plain)
		return
	}
	o.addCert(namedCert{cert: k.cert, source: "SSH agent (" + k.comment + ")"})
}

// addNamed adds a named key that is not in the agent, or says why it cannot be used.
func (o *offers) addNamed(n *namedKey) {
	switch {
	case n.signer != nil:
		o.addKey(n.signer.PublicKey())
	case n.load != nil:
		o.list = append(o.list, &Identity{load: n.load, algorithms: o.c.config.Algorithms, Source: n.source, Asks: true})
	default:
		held := false
		for _, public := range n.publics {
			held = held || o.signers[string(public.Marshal())] != nil
		}
		if !held && n.err != nil && !(n.usual && keyfile.Missing(n.err)) {
			err := n.err
			if o.c.heldErr == nil { // which is noted once, below
				err = o.c.notHeld(n)
			}
			o.note(n.path, err)
		}
	}
	for _, cert := range n.certs {
		o.addCert(namedCert{cert: cert, path: n.path, source: "certificate for the " + n.source})
	}
}

// addKey adds a key that somebody signs for, and the certificates for it.
func (o *offers) addKey(public ssh.PublicKey) {
	blob := public.Marshal()
	for _, n := range o.certs[string(blob)] {
		o.addCert(n)
	}
	id := o.signers[string(blob)]
	o.add(id.Signer, public, id.Source, id.Asks)
}

// addCert adds a certificate, if somebody signs for its key.
func (o *offers) addCert(n namedCert) {
	id := o.signers[string(n.cert.Key.Marshal())]
	if id == nil {
		if !o.offered[string(n.cert.Marshal())] {
			o.offered[string(n.cert.Marshal())] = true
			o.note(n.path, errors.New("no private key for the certificate, neither in a file nor in the agent"))
		}
		return
	}
	signer, err := ssh.NewCertSigner(n.cert, id.Signer)
	if err != nil {
		o.note(n.path, err)
		return
	}
	if !o.add(signer, n.cert, n.source, id.Asks) {
		return
	}
	if err := keyfile.CheckUser(n.cert, o.c.config.User); err != nil {
		o.note(n.path, err)
	}
}

// add adds what is not there yet, and reports whether it has.
func (o *offers) add(signer ssh.Signer, public ssh.PublicKey, source string, asks bool) bool {
	blob := string(public.Marshal())
	if o.offered[blob] {
		return false
	}
	o.offered[blob] = true
	signer, err := o.c.config.Algorithms.Permit(signer)
	if err != nil {
		o.c.notes = append(o.c.notes, fmt.Errorf("%s: %w", source, err))
		return false
	}
	o.list = append(o.list, &Identity{Signer: signer, Source: source, Asks: asks})
	return true
}

func (o *offers) note(path string, err error) { o.c.note(path, err) }
