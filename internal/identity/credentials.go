// Package identity selects the keys and certificates that a login offers, from files, memory and
// the SSH agent, and puts them in order.
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

// Config says which keys and certificates a host may be offered, as in fleetssh.Auth.
//
// KeyFile, KeyData, Signers, CertFile and CertData are required: if one cannot be used, that is an
// error. Identities, CertFiles and the default files are optional: those that cannot be used are
// skipped with a note.
type Config struct {
	User string // the user to log in as

	KeyFile, CertFile string
	KeyData, CertData []byte
	Signers           []ssh.Signer

	Identities, CertFiles         []string
	IdentitiesOnly, NoDefaultKeys bool

	Agent      *sshagent.Agent // nil: no agent is asked
	Secrets    *keyfile.Secrets
	Algorithms *algorithms.Choice
}

// OnlyNamed reports whether the required keys are the only ones to offer.
func (a *Config) OnlyNamed() bool {
	return a.KeyFile != "" || len(a.KeyData) > 0 || len(a.Signers) > 0
}

// Credentials are the keys and certificates that the configuration of one host names, with notes
// that may explain a refused login. [Credentials.All] adds the keys of the agent.
//
// All sources are treated in the same way. A key is identified by its public half, because the
// agent may have the private half. A certificate belongs to a public half, and is offered with the
// private half wherever that is.
type Credentials struct {
	config *Config
	keys   []*namedKey
	certs  []namedCert // certificates that are named without a key

	agent     *sshagent.Agent // nil: no agent is asked
	only      bool            // offer only named keys of the agent
	certsOnly bool            // and only named certificates for them
	listed    bool            // the agent has been asked: what follows is set
	held      []heldKey
	heldErr   error

	notes []error
}

// A namedKey is one key that the configuration names.
type namedKey struct {
	path      string // empty: in memory
	source    string // a description of the source
	required  bool
	isDefault bool // a default file, which may be missing
	publics   []ssh.PublicKey
	certs     []*ssh.Certificate
	signer    ssh.Signer                 // signs with the private half, which may be encrypted (keyfile.Lazy)
	load      func() (ssh.Signer, error) // instead of signer, if the public half is not known
	err       error                      // why there is neither signer nor load
}

// A namedCert is a certificate that the configuration names.
type namedCert struct {
	cert     *ssh.Certificate
	path     string // empty: in memory
	source   string
	required bool
}

// A heldKey is a key or certificate of the agent.
type heldKey struct {
	public  ssh.PublicKey
	plain   ssh.PublicKey    // the key, or the key in the certificate
	cert    *ssh.Certificate // nil for a key
	comment string
}

// FileError means that a key or certificate cannot be used. Path is empty if it is in memory.
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

// Read reads the keys and certificates that a names. It may ask the agent. The error is a
// [*FileError] for a required key or certificate that cannot be used, or the error of ctx.
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
	return c, c.checkRequired(ctx)
}

// Notes returns why named keys and certificates are not offered, and other reasons that may explain
// a refused login.
func (c *Credentials) Notes() []error { return c.notes }

// AsksAgent reports whether there is an SSH agent to ask.
func (c *Credentials) AsksAgent() bool { return c.agent != nil }

// AgentIsEmpty reports whether there is an agent that has listed no keys.
func (c *Credentials) AgentIsEmpty() bool {
	return c.agent != nil && c.heldErr == nil && len(c.held) == 0
}

// FindsKeys reports whether any named or default key file exists, or a public key or certificate
// file beside it.
func (c *Credentials) FindsKeys() bool {
	return slices.ContainsFunc(c.keys, func(n *namedKey) bool {
		return !keyfile.Missing(n.err) || len(n.publics) > 0 || len(n.certs) > 0
	})
}

// nameKeys adds the keys that are named or, if there are none, the default files.
func (c *Credentials) nameKeys(ctx context.Context, keys *keyfile.Ring) error {
	a := c.config
	if a.KeyFile != "" {
		n := &namedKey{path: account.Expand(a.KeyFile), source: "key file " + a.KeyFile, required: true}
		if err := c.nameFile(ctx, keys, n); err != nil {
			return err
		}
	}
	if len(a.KeyData) > 0 {
		file, err := keys.ReadData(ctx, a.KeyData)
		if err != nil {
			return err
		}
		n := &namedKey{source: "key in memory", required: true}
		if err := c.nameKey(ctx, keys, n, file); err != nil {
			return err
		}
	}
	for _, signer := range a.Signers {
		if signer == nil {
			return c.fileError("", errors.New("a signer is nil"))
		}
		c.keys = append(c.keys, &namedKey{source: "signer", required: true, signer: signer, publics: []ssh.PublicKey{signer.PublicKey()}})
	}
	if a.OnlyNamed() {
		return nil
	}
	defaults := keyfile.DefaultFiles()
	paths, what := a.Identities, "key file "
	if len(paths) == 0 && !a.NoDefaultKeys {
		paths, what = defaults, "default key file "
	}
	for _, path := range paths {
		path = account.Expand(path)
		n := &namedKey{path: path, source: what + path, isDefault: slices.Contains(defaults, path)}
		if err := c.nameFile(ctx, keys, n); err != nil {
			return err
		}
	}
	return nil
}

// nameFile adds the key in a file, with the public half and certificates in the files beside it
// that ssh reads. The file itself may be missing.
func (c *Credentials) nameFile(ctx context.Context, keys *keyfile.Ring, n *namedKey) error {
	file, err := keys.Read(ctx, n.path)
	if err != nil {
		return err
	}
	if file.Signer == nil && file.Cert == nil {
		beside, err := keys.Read(ctx, n.path+".pub")
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
		beside, err := keys.Read(ctx, path)
		if err != nil {
			return err
		}
		if beside.Cert == nil {
			continue
		}
		if err := keyfile.CheckCertificate(beside.Cert, time.Now()); err != nil {
			c.note(path, err) // the key may be accepted without the certificate
		} else {
			n.certs = append(n.certs, beside.Cert)
		}
	}
	return c.nameKey(ctx, keys, n, file)
}

// nameKey adds a key that has been read. It does not ask the user.
func (c *Credentials) nameKey(ctx context.Context, keys *keyfile.Ring, n *namedKey, file keyfile.File) error {
	secrets := c.config.Secrets
	if file.Public != nil && file.Cert == nil {
		// The public half in the file itself comes before that in a .pub file.
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
		// Report a wrong passphrase before a host is contacted.
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
		n.source += ", whose passphrase is asked for if the host accepts the key"
	}
	return nil
}

// nameCerts adds the certificates that are named without a key.
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
		c.certs = append(c.certs, namedCert{cert: cert, source: "certificate in memory", required: true})
	}
	paths := a.CertFiles
	if a.CertFile != "" {
		paths = append([]string{a.CertFile}, paths...)
	}
	for i, path := range paths {
		n := namedCert{path: account.Expand(path), source: "certificate " + path, required: i == 0 && a.CertFile != ""}
		file, err := keys.Read(ctx, n.path)
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
		case n.required:
			return c.fileError(n.path, err)
		default:
			c.note(n.path, err)
		}
	}
	return nil
}

// noCertificate returns the error for a file that is not a certificate: what it is instead.
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

// checkRequired returns an error for the first required key or certificate that cannot be used. It
// asks the agent only if the files do not have the private half.
func (c *Credentials) checkRequired(ctx context.Context) error {
	for _, n := range c.keys {
		if !n.required {
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
		if !n.required {
			continue
		}
		if err := c.checkKeyOf(ctx, n.cert); err != nil {
			return c.fileError(n.path, err)
		}
	}
	return nil
}

// checkKeyOf returns an error if neither a named key nor the agent has the private half for a
// certificate.
func (c *Credentials) checkKeyOf(ctx context.Context, cert *ssh.Certificate) error {
	for _, n := range c.keys {
		if n.load != nil || n.signer != nil && keyfile.Same(n.signer.PublicKey(), cert.Key) {
			return nil // with load, that is known only when the key is decrypted
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
	return c.withAgent(errors.New("no private key for the certificate in a file"))
}

// holds reports whether the agent has the private half of a named key.
func (c *Credentials) holds(ctx context.Context, n *namedKey) bool {
	return slices.ContainsFunc(n.publics, func(public ssh.PublicKey) bool { return c.heldFor(ctx, public) }) ||
		slices.ContainsFunc(n.certs, func(cert *ssh.Certificate) bool { return c.heldFor(ctx, cert.Key) })
}

func (c *Credentials) heldFor(ctx context.Context, public ssh.PublicKey) bool {
	return slices.ContainsFunc(c.list(ctx), func(k heldKey) bool { return keyfile.Same(k.plain, public) })
}

// list returns the keys and certificates of the agent.
func (c *Credentials) list(ctx context.Context) []heldKey {
	if c.agent == nil || c.listed {
		return c.held
	}
	list, err := c.agent.Keys(ctx)
	if ctx.Err() != nil {
		return nil // ctx ended: ask again next time
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

// notHeld returns why a key cannot be used that the agent does not have.
func (c *Credentials) notHeld(n *namedKey) error {
	if e, ok := n.err.(*FileError); ok {
		return e.Err
	}
	if len(n.publics) == 0 && len(n.certs) == 0 {
		return n.err // without a public half, the agent cannot be asked
	}
	return c.withAgent(n.err)
}

// withAgent adds to err why the agent does not help.
func (c *Credentials) withAgent(err error) error {
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

// note adds a note about a key or certificate that is not offered.
func (c *Credentials) note(path string, err error) {
	if e, ok := err.(*FileError); ok {
		path, err = e.Path, e.Err
	}
	c.notes = append(c.notes, &FileError{Path: path, Err: err})
}
