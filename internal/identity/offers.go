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
	Signer ssh.Signer // nil if the public half is not known, until Open succeeds
	Source string     // a description of the source
	Asks   bool       // signing may ask the user a question

	load       func() (ssh.Signer, error) // decrypts a key whose public half is not known; or nil
	algorithms *algorithms.Choice
}

// Open decrypts a key whose public half is not known. It may ask the user for the passphrase.
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

// Describe returns the source and fingerprint for messages.
func (id *Identity) Describe() string {
	return fmt.Sprintf("%s (%s)", id.Source, ssh.FingerprintSHA256(algorithms.PlainKey(id.Signer.PublicKey())))
}

// errNoneHeld is the note for an agent that lists no keys. A locked agent does not report that it
// is locked.
var errNoneHeld = errors.New("the SSH agent lists no keys: it is empty, or locked (ssh-add -X unlocks it)")

// offers builds the ordered list of identities of one host. The keys of its maps are marshalled
// public keys.
type offers struct {
	c       *Credentials
	ctx     func() context.Context
	list    []*Identity
	offered map[string]bool        // keys and certificates that are in list, or were skipped
	signers map[string]*Identity   // the signer for a key
	certs   map[string][]namedCert // the certificates in files beside a key
}

// All returns the identities to offer, in the order of ssh: the certificates that are named without
// a key; the named keys in the agent; the other keys of the agent, unless only named keys may be
// offered; and the named keys that are not in the agent. The certificates for a key come before it.
// Nothing is offered twice.
//
// If a key is both in the agent and in a file that is not encrypted, the file is used for signing:
// agents sign one after another. All calls ctx for each signature of the agent.
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

// collect fills in signers and certs.
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
	// Keys come first. If the agent has only a certificate, it signs for the key when asked
	// with the certificate.
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

// heldSigner returns a signer for the plain key of a key or certificate in the agent.
func (o *offers) heldSigner(k heldKey) ssh.Signer {
	signer := sshagent.NewSigner(o.ctx, o.c.agent, k.public, algorithms.Signing(k.public))
	if k.cert == nil {
		return signer
	}
	return &plainSigner{signer, k.plain}
}

// plainSigner is a signer for a plain key that uses the signer of its certificate.
type plainSigner struct {
	ssh.MultiAlgorithmSigner
	public ssh.PublicKey
}

// PublicKey implements [ssh.Signer].
func (s *plainSigner) PublicKey() ssh.PublicKey { return s.public }

// named reports whether the configuration names a key or certificate of the agent. A certificate is
// also named if its key is, unless only named certificates may be offered.
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

// addNamed adds a named key that has not been added from the agent, or a note why it cannot be
// used.
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
		if !held && n.err != nil && !(n.isDefault && keyfile.Missing(n.err)) {
			err := n.err
			if o.c.heldErr == nil { // All adds heldErr once, as a note of its own
				err = o.c.notHeld(n)
			}
			o.note(n.path, err)
		}
	}
	for _, cert := range n.certs {
		o.addCert(namedCert{cert: cert, path: n.path, source: "certificate for the " + n.source})
	}
}

// addKey adds a key that has a signer, after the certificates for it.
func (o *offers) addKey(public ssh.PublicKey) {
	blob := public.Marshal()
	for _, n := range o.certs[string(blob)] {
		o.addCert(n)
	}
	id := o.signers[string(blob)]
	o.add(id.Signer, public, id.Source, id.Asks)
}

// addCert adds a certificate if its key has a signer, or else a note.
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

// add adds an identity unless it is in the list already. It reports whether it did.
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
