package fleetssh

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"

	"fleetssh/internal/account"
	"fleetssh/internal/algorithms"
	"fleetssh/internal/deadline"
	"fleetssh/internal/sanitize"
)

// keyFileLimit bounds what is read of a key or certificate file.
const keyFileLimit = 1 << 20

// defaultKeyNames are the files in ~/.ssh that are offered if nothing else is
// named. The private half of those ending in _sk is in hardware: the agent signs with
// it.
var defaultKeyNames = []string{"id_ed25519", "id_ecdsa", "id_rsa", "id_ed25519_sk", "id_ecdsa_sk"}

// keyring holds the key files that have been read, so that a key is read and
// decrypted once for all hosts. Its methods may be called from many goroutines: a
// file that is slow to read holds up only those who want that file.
type keyring struct {
	mu      sync.Mutex // protects entries, and is not held while files are read
	entries map[keyID]*keyEntry
}

type keyID struct {
	source   string // path, or the bytes of a key in memory
	inMemory bool
}

// A keyEntry is one file, or one key in memory.
type keyEntry struct {
	token chan struct{} // is held by who uses what follows
	keyContent
}

type keyContent struct {
	read  bool
	state fileState // of the file when it was read
	file  keyFile
	asked ssh.Signer            // opened with an answer of the user
	keys  map[string]ssh.Signer // opened, by the passphrase; nil where that is wrong
}

// fileState tells one content of a file from the next: certificates in particular
// are made anew every few hours. What is no regular file, such as the pipe of a
// process substitution, can be read only once.
type fileState struct {
	modified time.Time
	size     int64
	once     bool
}

// entry returns the entry of a key, to be given back with leave.
func (k *keyring) entry(ctx context.Context, id keyID) (*keyEntry, error) {
	k.mu.Lock()
	e := k.entries[id]
	if e == nil {
		if k.entries == nil {
			k.entries = make(map[keyID]*keyEntry)
		}
		e = &keyEntry{token: make(chan struct{}, 1)}
		k.entries[id] = e
	}
	k.mu.Unlock()
	select {
	case e.token <- struct{}{}:
		return e, nil
	case <-ctx.Done():
		return nil, deadline.Cause(ctx)
	}
}

func (e *keyEntry) leave() { <-e.token }

// look returns what is in a file, which need not be there. The error is that of ctx.
func (k *keyring) look(ctx context.Context, path string) (keyFile, error) {
	e, err := k.entry(ctx, keyID{source: path})
	if err != nil {
		return keyFile{}, err
	}
	defer e.leave()
	e.refresh(ctx, path)
	return e.file, deadline.Cause(ctx)
}

// lookData does the same for a key in memory.
func (k *keyring) lookData(ctx context.Context, data []byte) (keyFile, error) {
	e, err := k.entry(ctx, keyID{string(data), true})
	if err != nil {
		return keyFile{}, err
	}
	defer e.leave()
	if !e.read {
		e.file, e.read = parseKeyFile("", data), true
	}
	return e.file, nil
}

// refresh reads the file, if it has changed.
func (e *keyEntry) refresh(ctx context.Context, path string) {
	info, err := os.Stat(path)
	if err != nil {
		if !e.state.once {
			e.keyContent = keyContent{file: keyFile{err: withoutPath(err)}}
		}
		return
	}
	state := fileState{info.ModTime(), info.Size(), !info.Mode().IsRegular() && !info.IsDir()}
	if e.read && (state == e.state || state.once) {
		return
	}
	data, err := readKeyFile(ctx, path)
	file := keyFile{err: err}
	if err == nil {
		file = parseKeyFile(path, data)
	}
	e.keyContent = keyContent{read: ctx.Err() == nil, state: state, file: file}
}

// open returns the private half of an encrypted key: of the file at path, or of data
// if path is empty. An encrypted key whose passphrase is not given is asked for, once
// for all hosts, if there is somebody to ask. The error is that of ctx, or says why
// there is no key.
func (k *keyring) open(ctx context.Context, host *HostConfig, path string, data []byte) (ssh.Signer, error) {
	e, err := k.entry(ctx, keyID{string(data) + path, path == ""})
	if err != nil {
		return nil, err
	}
	defer e.leave()
	switch {
	case e.file.signer != nil:
		return e.file.signer, nil
	case e.file.locked == nil:
		return nil, e.file.err
	}
	a := &host.Auth
	passphrase := a.passphrase()
	if passphrase != "" {
		signer, err := e.unlock(passphrase)
		// A password that is no passphrase leaves the question open.
		if err == nil || a.Passphrase != "" || a.Ask == nil {
			return signer, err
		}
	}
	if e.asked != nil {
		return e.asked, nil
	}
	if a.Ask == nil {
		return nil, errEncrypted{e.file.public}
	}
	what := "the private key"
	if path != "" {
		what = "key " + path
	}
	passphrase, err = a.ask(ctx, Question{Host: host.name(), Prompt: "Passphrase for " + what + ": "})
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, deadline.Cause(ctx)
	case err != nil:
		return nil, err
	case passphrase == "":
		return nil, errEncrypted{e.file.public}
	}
	e.asked, err = e.unlock(passphrase)
	return e.asked, err
}

// unlock decrypts the key, once for each passphrase, whether it is right or wrong:
// that takes a good part of a second, and a thousand hosts may share a password.
func (e *keyEntry) unlock(passphrase string) (ssh.Signer, error) {
	signer, tried := e.keys[passphrase]
	if !tried {
		var err error
		signer, err = unlock(e.file.locked, passphrase)
		if err != nil && !errors.Is(err, errWrongPassphrase) {
			return nil, err
		}
		if e.keys == nil {
			e.keys = make(map[string]ssh.Signer)
		}
		if len(e.keys) < maxPassphrases {
			e.keys[passphrase] = signer
		}
	}
	if signer == nil {
		return nil, errWrongPassphrase
	}
	return signer, nil
}

// maxPassphrases bounds how many passphrases are remembered for one key.
const maxPassphrases = 64

// restrictRSA makes an RSA key sign with SHA-2 only.
func restrictRSA(signer ssh.Signer) (ssh.Signer, error) {
	names := algorithms.Signing(signer.PublicKey())
	as, ok := signer.(ssh.AlgorithmSigner)
	if !ok || len(names) < 2 {
		return signer, nil
	}
	return ssh.NewSignerWithAlgorithms(as, names)
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
	return fmt.Errorf("certificate is for %s, not for user %s", sanitize.List(cert.ValidPrincipals), user)
}

// lazyKey is a key that is encrypted: it is decrypted, which may mean asking, only
// once a server would take it.
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
	if !sameKey(signer.PublicKey(), k.public) {
		return nil, errors.New("the private key is not that of its .pub file")
	}
	if as, ok := signer.(ssh.AlgorithmSigner); ok {
		return as.SignWithAlgorithm(rand, data, algorithm)
	}
	return signer.Sign(rand, data)
}

// Algorithms implements [ssh.MultiAlgorithmSigner].
func (k *lazyKey) Algorithms() []string { return algorithms.Signing(k.public) }

// readKeyFile reads a file of a size that a key can have. It does not wait for a
// pipe that nobody writes to.
func readKeyFile(ctx context.Context, path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, withoutPath(err)
	}
	defer f.Close()
	// Only pipes know deadlines.
	defer context.AfterFunc(ctx, func() { _ = f.SetReadDeadline(time.Now()) })()
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
