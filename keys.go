package fleetssh

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"fleetssh/internal/account"
)

// keyFileLimit bounds what is read of a key or certificate file.
const keyFileLimit = 1 << 20

// defaultKeyNames are the files in ~/.ssh that are offered if nothing else is
// named. Of those ending in _sk only the public half is used: the private one is
// in hardware, and the agent signs with it.
var defaultKeyNames = []string{"id_ed25519", "id_ecdsa", "id_rsa", "id_ed25519_sk", "id_ecdsa_sk"}

// keyring holds the key files that have been read, so that a key is read and
// decrypted once for all hosts. Its methods may be called from many goroutines.
type keyring struct {
	mu      sync.Mutex // protects what follows
	entries map[keyID]*keyEntry
	certs   map[string]certEntry // by path
}

type certEntry struct {
	cert *ssh.Certificate // nil if there is no such file
	err  error
}

type keyID struct {
	source     string // path, or the bytes of a key in memory
	inMemory   bool
	passphrase string
}

type keyEntry struct {
	loading chan struct{} // holds a token while the key is loaded
	signer  ssh.Signer
}

// file returns the key in the file at path. An encrypted key whose passphrase is
// not given is asked for, once for all hosts, if there is somebody to ask.
func (k *keyring) file(ctx context.Context, host *HostConfig, path string) (ssh.Signer, error) {
	return k.load(ctx, host, keyID{source: path, passphrase: host.Auth.passphrase()})
}

// data returns the key in host.Auth.KeyData.
func (k *keyring) data(ctx context.Context, host *HostConfig) (ssh.Signer, error) {
	return k.load(ctx, host, keyID{source: string(host.Auth.KeyData), inMemory: true, passphrase: host.Auth.passphrase()})
}

func (k *keyring) load(ctx context.Context, host *HostConfig, id keyID) (ssh.Signer, error) {
	k.mu.Lock()
	e := k.entries[id]
	if e == nil {
		if k.entries == nil {
			k.entries = make(map[keyID]*keyEntry)
		}
		e = &keyEntry{loading: make(chan struct{}, 1)}
		k.entries[id] = e
	}
	k.mu.Unlock()
	select {
	case e.loading <- struct{}{}:
		defer func() { <-e.loading }()
	case <-ctx.Done():
		return nil, causeOf(ctx)
	}
	if e.signer != nil {
		return e.signer, nil
	}
	pem, path := []byte(id.source), ""
	if !id.inMemory {
		path = id.source
		var err error
		if pem, err = readKeyFile(path); err != nil {
			return nil, &PKeyFileError{Host: host.name(), Path: path, Err: err}
		}
	}
	signer, err := parseKey(ctx, host, pem, path, id.passphrase)
	if err != nil {
		if ctx.Err() != nil {
			return nil, causeOf(ctx)
		}
		return nil, &PKeyFileError{Host: host.name(), Path: path, Err: err}
	}
	e.signer = signer
	return signer, nil
}

// parseKey reads a private key, decrypting it if it has to.
func parseKey(ctx context.Context, host *HostConfig, pem []byte, path, passphrase string) (ssh.Signer, error) {
	signer, err := ssh.ParsePrivateKey(pem)
	if missing, ok := errors.AsType[*ssh.PassphraseMissingError](err); ok {
		if passphrase == "" && host.Auth.Ask != nil {
			what := "the private key"
			if path != "" {
				what = "key " + path
			}
			passphrase, err = host.Auth.ask(ctx, Question{Host: host.name(), Prompt: "Passphrase for " + what + ": "})
			if err != nil {
				return nil, err
			}
		}
		if passphrase == "" {
			return nil, errEncrypted{missing.PublicKey}
		}
		signer, err = ssh.ParsePrivateKeyWithPassphrase(pem, []byte(passphrase))
		if errors.Is(err, x509.IncorrectPasswordError) {
			return nil, errors.New("wrong passphrase")
		}
	}
	if err != nil {
		return nil, err
	}
	return restrictRSA(signer)
}

// errEncrypted means that a key needs a passphrase which nobody gave. The public
// half may be known all the same.
type errEncrypted struct{ public ssh.PublicKey }

func (errEncrypted) Error() string { return "the key is encrypted and no passphrase is given" }

// restrictRSA makes an RSA key sign with SHA-2 only.
func restrictRSA(signer ssh.Signer) (ssh.Signer, error) {
	algorithms := signatureAlgorithms(signer.PublicKey())
	as, ok := signer.(ssh.AlgorithmSigner)
	if !ok || len(algorithms) < 2 {
		return signer, nil
	}
	return ssh.NewSignerWithAlgorithms(as, algorithms)
}

// signatureAlgorithms returns what a key may sign with.
func signatureAlgorithms(key ssh.PublicKey) []string {
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

// certificate returns the user certificate of host: the one it names, or the one
// beside its key file. It is nil if there is none. named says that it was asked
// for, so that it is an error if it cannot be used.
func (k *keyring) certificate(host *HostConfig) (cert *ssh.Certificate, path string, named bool, err error) {
	a := &host.Auth
	switch {
	case len(a.CertData) > 0:
		named = true
		cert, err = parseCertificate(a.CertData)
	case a.CertFile != "":
		path, named = expandHome(a.CertFile), true
		cert, err = k.certFile(path)
		if cert == nil && err == nil {
			err = fs.ErrNotExist
		}
	case a.KeyFile != "":
		path = expandHome(a.KeyFile) + "-cert.pub"
		cert, err = k.certFile(path)
	}
	if cert != nil && err == nil {
		err = certCurrent(cert, time.Now())
	}
	if err != nil {
		return nil, path, named, &PKeyFileError{Host: host.name(), Path: path, Err: err}
	}
	return cert, path, named, nil
}

// certFile reads a certificate, once for all hosts.
func (k *keyring) certFile(path string) (*ssh.Certificate, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	e, ok := k.certs[path]
	if ok {
		return e.cert, e.err
	}
	raw, err := readKeyFile(path)
	if err == nil {
		e.cert, e.err = parseCertificate(raw)
	} else if !errors.Is(err, fs.ErrNotExist) {
		e.err = err
	}
	if k.certs == nil {
		k.certs = make(map[string]certEntry)
	}
	k.certs[path] = e
	return e.cert, e.err
}

func parseCertificate(raw []byte) (*ssh.Certificate, error) {
	key, _, _, _, err := ssh.ParseAuthorizedKey(raw)
	if err != nil {
		return nil, errors.New("not a certificate")
	}
	cert, ok := key.(*ssh.Certificate)
	if !ok {
		return nil, errors.New("a public key, not a certificate")
	}
	if cert.CertType != ssh.UserCert {
		return nil, errors.New("a host certificate, not one for users")
	}
	return cert, nil
}

// certCurrent says in plain words what an SSH server would answer with no more
// than a refusal.
func certCurrent(cert *ssh.Certificate, now time.Time) error {
	const layout = "2006-01-02 15:04:05 MST"
	t := uint64(now.Unix())
	if t < cert.ValidAfter {
		return fmt.Errorf("certificate not valid before %s", time.Unix(int64(cert.ValidAfter), 0).UTC().Format(layout))
	}
	if cert.ValidBefore != ssh.CertTimeInfinity && t >= cert.ValidBefore {
		return fmt.Errorf("certificate expired %s", time.Unix(int64(cert.ValidBefore), 0).UTC().Format(layout))
	}
	return nil
}

// certNames returns an error if cert does not name user. That alone does not stop
// a login: sshd may map principals to users (AuthorizedPrincipalsFile).
func certNames(cert *ssh.Certificate, user string) error {
	if len(cert.ValidPrincipals) == 0 || slices.Contains(cert.ValidPrincipals, user) {
		return nil
	}
	return fmt.Errorf("certificate is for %s, not for user %s", strings.Join(cert.ValidPrincipals, ", "), user)
}

// withCertificate puts the certificate before the key that it was made for.
func withCertificate(keys []ssh.Signer, cert *ssh.Certificate) ([]ssh.Signer, bool) {
	for i, key := range keys {
		if bytes.Equal(key.PublicKey().Marshal(), cert.Key.Marshal()) {
			signer, err := ssh.NewCertSigner(cert, key)
			if err != nil {
				return keys, false
			}
			return slices.Insert(slices.Clone(keys), i, signer), true
		}
	}
	return keys, false
}

// lazyKey is a default key that is encrypted: it is decrypted, which means asking,
// only once a server would take it.
type lazyKey struct {
	public ssh.PublicKey
	load   func() (ssh.Signer, error)
}

func (k *lazyKey) PublicKey() ssh.PublicKey { return k.public }

func (k *lazyKey) Sign(rand io.Reader, data []byte) (*ssh.Signature, error) {
	return k.SignWithAlgorithm(rand, data, k.Algorithms()[0])
}

// SignWithAlgorithm implements [ssh.AlgorithmSigner].
func (k *lazyKey) SignWithAlgorithm(rand io.Reader, data []byte, algorithm string) (*ssh.Signature, error) {
	signer, err := k.load()
	if err != nil {
		return nil, err
	}
	if as, ok := signer.(ssh.AlgorithmSigner); ok {
		return as.SignWithAlgorithm(rand, data, algorithm)
	}
	return signer.Sign(rand, data)
}

// Algorithms implements [ssh.MultiAlgorithmSigner].
func (k *lazyKey) Algorithms() []string { return signatureAlgorithms(k.public) }

// readKeyFile reads a file of a size that a key can have.
func readKeyFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, withoutPath(err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, keyFileLimit+1))
	if err != nil {
		return nil, withoutPath(err)
	}
	if len(data) > keyFileLimit {
		return nil, fmt.Errorf("larger than %d bytes: not a key", keyFileLimit)
	}
	return data, nil
}

// withoutPath drops the path from an error whose reader is told it anyway.
func withoutPath(err error) error {
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		return pe.Err
	}
	return err
}

// expandHome replaces a leading "~/".
func expandHome(path string) string {
	if rest, ok := strings.CutPrefix(path, "~/"); ok {
		if home, err := account.Home(); err == nil {
			return filepath.Join(home, rest)
		}
	}
	return path
}
