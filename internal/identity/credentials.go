// Package identity knows which keys and certificates a login offers, where each comes from,
// and in which order they are offered.
package identity

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"

	"fleetssh/internal/account"
	"fleetssh/internal/algorithms"
	"fleetssh/internal/deadline"
	"fleetssh/internal/keyfile"
	"fleetssh/internal/sanitize"
	"fleetssh/internal/sshagent"
)

// Config says which keys and certificates a host may be shown, as in fleetssh.Auth.
//
// KeyFile, KeyData, Signers, CertFile and CertData insist: if one is of no use, that is an
// error. Identities, CertFiles and the default files suggest: what is of no use is left out
// with a note.
type Config struct {
	User string // to log in as

	KeyFile, CertFile string
	KeyData, CertData []byte
	Signers           []ssh.Signer

	Identities, CertFiles         []string
	IdentitiesOnly, NoDefaultKeys bool

	Agent      *sshagent.Agent // nil: it is not asked
	Secrets    *keyfile.Secrets
	Algorithms *algorithms.Choice
}

// OnlyNamed reports whether only the keys named in a are offered.
func (a *Config) OnlyNamed() bool {
	return a.KeyFile != "" || len(a.KeyData) > 0 || len(a.Signers) > 0
}

// Credentials are the keys and certificates that the configuration of one host names,
// and what may explain a refusal. [Credentials.All] joins them with the agent's.
//
// All names go the same way. A key is known by its public half, so that the agent can
// have it, and certificates belong to public halves, so that they are offered with a key
// whoever holds it. What differs is what happens to a name that is of no use.
type Credentials struct {
	config *Config
	keys   []*namedKey
	certs  []namedCert // that are named by themselves

	agent     *sshagent.Agent // nil: it is not asked
	only      bool            // no keys of the agent but those that are named
	certsOnly bool            // and no certificates for them but those that are named
	listed    bool            // what follows is known
	held      []heldKey
	heldErr   error

	notes []error
}

// A namedKey is one key that a configuration names.
type namedKey struct {
	path    string // empty: in memory
	source  string // where it comes from, in words
	insist  bool
	usual   bool // a default file, which need not be there
	publics []ssh.PublicKey
	certs   []*ssh.Certificate
	signer  ssh.Signer                 // the private half, if it is there or can be asked for
	load    func() (ssh.Signer, error) // in place of signer, if not even the public half is known
	err     error                      // why there is neither
}

// A namedCert is a certificate that a configuration names.
type namedCert struct {
	cert   *ssh.Certificate
	path   string // empty: in memory
	source string
	insist bool
}

// A heldKey is a key or certificate of the agent.
type heldKey struct {
	public  ssh.PublicKey
	plain   ssh.PublicKey    // the same, or the key of the certificate
	cert    *ssh.Certificate // nil if it is a key
	comment string
}

// FileError means that a key or certificate cannot be used. Path is empty for one held in
// memory.
type FileError struct {
	Path string
	Err  error
}

// Error implements [error].
func (e *FileError) Error() string {
	if e.Path == "" {
		return "key in memory: " + e.Err.Error()
	}
	return "key file " + e.Path + ": " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *FileError) Unwrap() error { return e.Err }

// Read reads the keys that a is about. The error is a [*FileError] for one that insists
// and is of no use, or that of ctx. Nothing has been contacted then but the agent.
func Read(ctx context.Context, keys *keyfile.Ring, a *Config) (*Credentials, error) {
	c := &Credentials{config: a, agent: a.Agent}
	c.only = a.IdentitiesOnly || a.OnlyNamed()
	c.certsOnly = a.IdentitiesOnly
	if err := c.nameCerts(ctx, keys); err != nil {
		return nil, err
	}
	if err := c.nameKeys(ctx, keys); err != nil {
		return nil, err
	}
	return c, c.insisted(ctx)
}

// Notes returns why some of what is named is not offered, and what else may explain a
// refusal.
func (c *Credentials) Notes() []error { return c.notes }

// AsksAgent reports whether there is an SSH agent to ask.
func (c *Credentials) AsksAgent() bool { return c.agent != nil }

// AgentIsEmpty reports whether the agent was asked and lists nothing.
func (c *Credentials) AgentIsEmpty() bool {
	return c.agent != nil && c.heldErr == nil && len(c.held) == 0
}

// FindsKeys reports whether any of the key files that are named, or of the default ones,
// is there, or something beside it.
func (c *Credentials) FindsKeys() bool {
	return slices.ContainsFunc(c.keys, func(n *namedKey) bool {
		return !keyfile.Missing(n.err) || len(n.publics) > 0 || len(n.certs) > 0
	})
}

// nameKeys adds the keys that are named, or else the default files.
func (c *Credentials) nameKeys(ctx context.Context, keys *keyfile.Ring) error {
	a := c.config
	if a.KeyFile != "" {
		n := &namedKey{path: account.Expand(a.KeyFile), source: "key file " + a.KeyFile, insist: true}
		if err := c.nameFile(ctx, keys, n); err != nil {
			return err
		}
	}
	if len(a.KeyData) > 0 {
		file, err := keys.LookData(ctx, a.KeyData)
		if err != nil {
			return err
		}
		n := &namedKey{source: "key in memory", insist: true}
		if err := c.nameKey(ctx, keys, n, file); err != nil {
			return err
		}
	}
	for _, signer := range a.Signers {
		if signer == nil {
			return c.fileError("", errors.New("a signer is nil"))
		}
		c.keys = append(c.keys, &namedKey{source: "signer", insist: true, signer: signer, publics: []ssh.PublicKey{signer.PublicKey()}})
	}
	if a.OnlyNamed() {
		return nil
	}
	usual := keyfile.DefaultFiles()
	paths, what := a.Identities, "key file "
	if len(paths) == 0 && !a.NoDefaultKeys {
		paths, what = usual, "default key file "
	}
	for _, path := range paths {
		path = account.Expand(path)
		n := &namedKey{path: path, source: what + path, usual: slices.Contains(usual, path)}
		if err := c.nameFile(ctx, keys, n); err != nil {
			return err
		}
	}
	return nil
}

// nameFile adds the key in a file, with the public half and the certificate beside
// it, where ssh looks for them. The file itself need not be there.
func (c *Credentials) nameFile(ctx context.Context, keys *keyfile.Ring, n *namedKey) error {
	file, err := keys.Look(ctx, n.path)
	if err != nil {
		return err
	}
	if file.Signer == nil && file.Cert == nil {
		beside, err := keys.Look(ctx, n.path+".pub")
		if err != nil {
			return err
		}
		if beside.Public != nil && beside.Cert == nil {
			n.publics = append(n.publics, beside.Public)
		}
	}
	if file.Cert != nil {
		if err := keyfile.CheckCertificate(file.Cert, time.Now()); err != nil {
			file.Err = err
		} else {
			n.certs = append(n.certs, file.Cert)
		}
	}
	for _, path := range []string{n.path + "-cert", n.path + "-cert.pub"} {
		beside, err := keys.Look(ctx, path)
		if err != nil {
			return err
		}
		if beside.Cert == nil {
			continue
		}
		if err := keyfile.CheckCertificate(beside.Cert, time.Now()); err != nil {
			c.note(path, err) // the plain key may do
		} else {
			n.certs = append(n.certs, beside.Cert)
		}
	}
	return c.nameKey(ctx, keys, n, file)
}

// nameKey adds the key that has been read. It asks nobody.
func (c *Credentials) nameKey(ctx context.Context, keys *keyfile.Ring, n *namedKey, file keyfile.File) error {
	secrets := c.config.Secrets
	if file.Public != nil && file.Cert == nil {
		// It comes before the certificate of another file, since it is the right one.
		n.publics = append([]ssh.PublicKey{file.Public}, n.publics...)
	}
	n.signer, n.err = file.Signer, file.Err
	c.keys = append(c.keys, n)
	if file.Locked == nil {
		return nil
	}
	var data []byte
	if n.path == "" {
		data = c.config.KeyData
	}
	load := func() (ssh.Signer, error) {
		signer, err := keys.Open(ctx, secrets, n.path, data)
		if err != nil && ctx.Err() == nil {
			return nil, c.fileError(n.path, err)
		}
		return signer, err
	}
	switch {
	case secrets.Given() == "" && secrets.Ask == nil:
		n.err = keyfile.Encrypted{Public: file.Public}
	case secrets.Given() != "" && (secrets.Passphrase != "" || secrets.Ask == nil) && !c.holds(ctx, n):
		// A passphrase that is wrong is better known before a host is troubled.
		signer, err := load()
		switch {
		case err == nil:
			n.signer = signer
			n.publics = append(n.publics, signer.PublicKey())
		case ctx.Err() != nil:
			return deadline.Cause(ctx)
		default:
			n.err = err
		}
	case len(n.publics) > 0:
		n.signer = &keyfile.Lazy{Public: n.publics[0], Load: load}
	default:
		n.load = load
	}
	if secrets.Passphrase == "" && secrets.Ask != nil && (n.load != nil || n.signer != nil) {
		n.source += ", whose passphrase is asked for when the host takes it"
	}
	return nil
}

// nameCerts adds the certificates that are named by themselves.
func (c *Credentials) nameCerts(ctx context.Context, keys *keyfile.Ring) error {
	a := c.config
	if len(a.CertData) > 0 {
		cert, err := keyfile.ParseCertificate(a.CertData)
		if err == nil {
			err = keyfile.CheckCertificate(cert, time.Now())
		}
		if err != nil {
			return c.fileError("", err)
		}
		c.certs = append(c.certs, namedCert{cert: cert, source: "certificate in memory", insist: true})
	}
	paths := a.CertFiles
	if a.CertFile != "" {
		paths = append([]string{a.CertFile}, paths...)
	}
	for i, path := range paths {
		n := namedCert{path: account.Expand(path), source: "certificate " + path, insist: i == 0 && a.CertFile != ""}
		file, err := keys.Look(ctx, n.path)
		if err != nil {
			return err
		}
		if n.cert = file.Cert; n.cert == nil {
			err = noCertificate(file)
		} else {
			err = keyfile.CheckCertificate(n.cert, time.Now())
		}
		switch {
		case err == nil:
			c.certs = append(c.certs, n)
		case n.insist:
			return c.fileError(n.path, err)
		default:
			c.note(n.path, err)
		}
	}
	return nil
}

// noCertificate says what a file is that should be a certificate.
func noCertificate(file keyfile.File) error {
	if errno, ok := errors.AsType[syscall.Errno](file.Err); ok {
		return errno
	}
	switch {
	case file.Signer != nil || file.Locked != nil:
		return errors.New("a private key, not a certificate")
	case file.Public != nil:
		return errors.New("a public key, not a certificate")
	}
	return errors.New("not a certificate")
}

// insisted returns the error for the first name that insists and is of no use. It
// asks the agent only where the files leave that open.
func (c *Credentials) insisted(ctx context.Context) error {
	for _, n := range c.keys {
		if !n.insist {
			continue
		}
		if n.signer == nil && n.load == nil && !c.holds(ctx, n) {
			if deadline.Cause(ctx) != nil {
				return deadline.Cause(ctx)
			}
			return c.fileError(n.path, c.notHeld(n))
		}
	}
	for _, n := range c.certs {
		if !n.insist {
			continue
		}
		if err := c.fits(ctx, n.cert); err != nil {
			return c.fileError(n.path, err)
		}
	}
	return nil
}

// fits returns an error if nobody holds the key of a certificate.
func (c *Credentials) fits(ctx context.Context, cert *ssh.Certificate) error {
	for _, n := range c.keys {
		if n.load != nil || n.signer != nil && keyfile.Same(n.signer.PublicKey(), cert.Key) {
			return nil // or it will be known when the key is decrypted
		}
	}
	if c.heldFor(ctx, cert.Key) {
		return nil
	}
	if deadline.Cause(ctx) != nil {
		return deadline.Cause(ctx)
	}
	if c.config.OnlyNamed() {
		return errors.New("certificate is not for this private key")
	}
	return c.agentSays(errors.New("no private key for the certificate in a file"))
}

// holds reports whether the agent holds the private half of a named key.
func (c *Credentials) holds(ctx context.Context, n *namedKey) bool {
	return slices.ContainsFunc(n.publics, func(public ssh.PublicKey) bool { return c.heldFor(ctx, public) }) ||
		slices.ContainsFunc(n.certs, func(cert *ssh.Certificate) bool { return c.heldFor(ctx, cert.Key) })
}

func (c *Credentials) heldFor(ctx context.Context, public ssh.PublicKey) bool {
	return slices.ContainsFunc(c.list(ctx), func(k heldKey) bool { return keyfile.Same(k.plain, public) })
}

// list returns what the agent holds.
func (c *Credentials) list(ctx context.Context) []heldKey {
	if c.agent == nil || c.listed {
		return c.held
	}
	list, err := c.agent.Keys(ctx)
	if ctx.Err() != nil {
		return nil // which says nothing about the agent
	}
	c.listed, c.heldErr = true, err
	for _, k := range list {
		public, err := ssh.ParsePublicKey(k.Blob)
		if err != nil {
			continue
		}
		held := heldKey{public: public, plain: public, comment: sanitize.Line(k.Comment)}
		if cert, ok := public.(*ssh.Certificate); ok {
			held.plain, held.cert = cert.Key, cert
		}
		c.held = append(c.held, held)
	}
	return c.held
}

// notHeld says why a key that the agent does not hold cannot be used.
func (c *Credentials) notHeld(n *namedKey) error {
	if e, ok := n.err.(*FileError); ok {
		return e.Err
	}
	if len(n.publics) == 0 && len(n.certs) == 0 {
		return n.err // it could not be found in the agent
	}
	return c.agentSays(n.err)
}

// agentSays adds that the agent is no way out.
func (c *Credentials) agentSays(err error) error {
	switch {
	case c.agent == nil:
		return fmt.Errorf("%w, and there is no SSH agent that could hold it", err)
	case c.heldErr != nil:
		return fmt.Errorf("%w, and the SSH agent cannot be asked for it: %w", err, c.heldErr)
	case len(c.held) == 0:
		return fmt.Errorf("%w, and %w", err, errNoneHeld)
	}
	return fmt.Errorf("%w, and the SSH agent does not hold it", err)
}

func (c *Credentials) fileError(path string, err error) error {
	if e, ok := err.(*FileError); ok {
		return e
	}
	return &FileError{Path: path, Err: err}
}

// note remembers what is left out.
func (c *Credentials) note(path string, err error) {
	if e, ok := err.(*FileError); ok {
		path, err = e.Path, e.Err
	}
	c.notes = append(c.notes, &FileError{Path: path, Err: err})
}
