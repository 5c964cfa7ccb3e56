package fleetssh

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"

	"fleetssh/internal/account"
	"fleetssh/internal/sshagent"
)

// credentials are the keys to offer to one host, in order, and what may explain a
// refusal.
type credentials struct {
	keys       []ssh.Signer
	agent      *sshagent.Agent  // to be asked for its keys; nil: not at all
	wanted     []ssh.PublicKey  // of the agent's keys, those to offer first
	wantedOnly bool             // and no others
	cert       *ssh.Certificate // for a key of the agent
	notes      []error

	sources map[string]string // where the keys come from; nil: nobody asks
}

// from notes where a key comes from.
func (c *credentials) from(key ssh.PublicKey, format string, args ...any) {
	if c.sources != nil {
		c.sources[string(key.Marshal())] = fmt.Sprintf(format, args...)
	}
}

// source says where a key or certificate comes from.
func (c *credentials) source(key ssh.PublicKey) string {
	if text, ok := c.sources[string(key.Marshal())]; ok {
		return text
	}
	if cert, ok := key.(*ssh.Certificate); ok {
		return "certificate for the " + c.source(cert.Key)
	}
	return "signer"
}

// credentials reads the keys of host. The error is a *PKeyFileError, or that of
// ctx. Nothing has been contacted then.
func (d *dialer) credentials(ctx context.Context, host *HostConfig, user string) (*credentials, error) {
	c := new(credentials)
	if err := d.gather(ctx, host, user, c); err != nil {
		return nil, err
	}
	return c, nil
}

func (d *dialer) gather(ctx context.Context, host *HostConfig, user string, c *credentials) error {
	a := &host.Auth
	cert, certPath, named, err := d.keys.certificate(host)
	if err != nil && named {
		return err
	}
	if err != nil {
		c.notes = append(c.notes, err) // the plain key may do
	}
	if a.ownKeys() {
		err = d.ownKeys(ctx, host, c)
	} else {
		err = d.identities(ctx, host, c)
	}
	if err != nil {
		return err
	}
	if cert == nil {
		return nil
	}
	var fits bool
	c.keys, fits = withCertificate(c.keys, cert)
	if !fits && c.agent != nil {
		c.cert = cert // the agent may hold its key
	} else if !fits {
		err := &PKeyFileError{Host: host.name(), Path: certPath, Err: errors.New("certificate is not for this private key")}
		if named {
			return err
		}
		c.notes = append(c.notes, err)
	}
	if err := certNames(cert, user); err != nil {
		c.notes = append(c.notes, &PKeyFileError{Host: host.name(), Path: certPath, Err: err})
	}
	return nil
}

// ownKeys adds the keys that host names.
func (d *dialer) ownKeys(ctx context.Context, host *HostConfig, c *credentials) error {
	a := &host.Auth
	if a.KeyFile != "" {
		key, err := d.keys.file(ctx, host, expandHome(a.KeyFile))
		if err != nil {
			return err
		}
		c.keys = append(c.keys, key)
		c.from(key.PublicKey(), "key file %s", a.KeyFile)
	}
	if len(a.KeyData) > 0 {
		key, err := d.keys.data(ctx, host)
		if err != nil {
			return err
		}
		c.keys = append(c.keys, key)
		c.from(key.PublicKey(), "key in memory")
	}
	for _, signer := range a.Signers {
		if signer == nil {
			return &PKeyFileError{Host: host.name(), Err: errors.New("a signer is nil")}
		}
		c.keys = append(c.keys, signer)
	}
	return nil
}

// identities adds the files that Identities names, or the default ones in ~/.ssh, and
// remembers to ask the agent. A file that cannot be used is passed over, with a note.
func (d *dialer) identities(ctx context.Context, host *HostConfig, c *credentials) error {
	a := &host.Auth
	if !a.NoAgent {
		c.agent, c.wantedOnly = d.agent(a.agentSocket()), a.IdentitiesOnly
	}
	what, paths := "key file", a.Identities
	if len(paths) == 0 && !a.NoDefaultKeys {
		what = "default key file"
		if home, err := account.Home(); err == nil {
			for _, name := range defaultKeyNames {
				paths = append(paths, filepath.Join(home, ".ssh", name))
			}
		}
	}
	for _, path := range paths {
		path = expandHome(path)
		public := readPublicKey(strings.TrimSuffix(path, ".pub") + ".pub")
		if public != nil {
			c.wanted = append(c.wanted, public)
		}
		if strings.HasSuffix(path, "_sk") || strings.HasSuffix(path, ".pub") {
			continue // only through the agent
		}
		if err := d.identity(ctx, host, c, what, path, public); err != nil {
			return err
		}
	}
	return nil
}

func (d *dialer) identity(ctx context.Context, host *HostConfig, c *credentials, what, path string, public ssh.PublicKey) error {
	quiet := *host
	quiet.Auth.Ask = nil // not before the server would take the key
	key, err := d.keys.file(ctx, &quiet, path)
	encrypted, locked := errors.AsType[errEncrypted](err)
	if public == nil && encrypted.public != nil {
		public = encrypted.public
		c.wanted = append(c.wanted, public)
	}
	switch {
	case err == nil:
		if cert, err := d.keys.certFile(path + "-cert.pub"); err == nil && cert != nil {
			if keys, ok := withCertificate([]ssh.Signer{key}, cert); ok {
				c.keys = append(c.keys, keys[0])
			}
		}
		c.keys = append(c.keys, key)
		c.from(key.PublicKey(), "%s %s", what, path)
		if public == nil {
			c.wanted = append(c.wanted, key.PublicKey())
		}
	case ctx.Err() != nil:
		return causeOf(ctx)
	case errors.Is(err, os.ErrNotExist):
	case locked && host.Auth.Ask != nil:
		if public != nil {
			load := func() (ssh.Signer, error) { return d.keys.file(ctx, host, path) }
			c.keys = append(c.keys, &lazyKey{public: public, load: load})
			c.from(public, "%s %s, whose passphrase is asked for when the host takes it", what, path)
		}
	default:
		c.notes = append(c.notes, err)
	}
	return nil
}

// all returns the keys to offer: those of the agent first, the default key files
// among them foremost, and then the others. A key that is also in a file signs
// from there: an agent signs one thing at a time. ctx is asked for again whenever
// the agent is to sign.
func (c *credentials) all(ctx func() context.Context) []ssh.Signer {
	if c.agent == nil {
		return c.keys
	}
	list, err := c.agent.Keys(ctx())
	if err != nil {
		c.notes = append(c.notes, err)
	}
	files := slices.Clone(c.keys)
	var first, rest []ssh.Signer
	for _, k := range list {
		key, err := ssh.ParsePublicKey(k.Blob)
		if err != nil {
			continue
		}
		named := slices.ContainsFunc(c.wanted, func(w ssh.PublicKey) bool { return sameKey(w, key) })
		if c.wantedOnly && !named {
			continue
		}
		c.from(key, "SSH agent (%s)", k.Comment)
		var signer ssh.Signer = sshagent.NewSigner(ctx, c.agent, key, signatureAlgorithms(key))
		if i := slices.IndexFunc(files, func(s ssh.Signer) bool { return sameKey(s.PublicKey(), key) }); i >= 0 {
			if _, locked := files[i].(*lazyKey); !locked {
				signer = files[i]
			}
			files = slices.Delete(files, i, i+1)
		}
		if named {
			first = append(first, signer)
		} else {
			rest = append(rest, signer)
		}
	}
	keys := slices.Concat(first, rest, files)
	if c.cert != nil {
		var fits bool
		if keys, fits = withCertificate(keys, c.cert); !fits {
			c.notes = append(c.notes, errors.New("no private key for the certificate, neither in a file nor in the agent"))
		}
	}
	return keys
}

func readPublicKey(path string) ssh.PublicKey {
	data, err := readKeyFile(path)
	if err != nil {
		return nil
	}
	key, _, _, _, err := ssh.ParseAuthorizedKey(data)
	if err != nil {
		return nil
	}
	return key
}

func sameKey(a, b ssh.PublicKey) bool { return string(a.Marshal()) == string(b.Marshal()) }
