package keyfile

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"

	"fleetssh/internal/deadline"
)

// keyFileLimit limits the size of a key or certificate file in bytes.
const keyFileLimit = 1 << 20

// Ring caches key files, so that each is read and decrypted once for all hosts. The zero value is
// ready for use. Its methods may be called concurrently; a file that is slow to read delays only
// callers that need that file.
type Ring struct {
	mu      sync.Mutex // protects entries; not held while files are read
	entries map[keyID]*keyEntry
}

type keyID struct {
	source   string // the path, or the bytes of a key in memory
	inMemory bool
}

// A keyEntry is one file or one key in memory.
type keyEntry struct {
	token chan struct{} // holds a value while a goroutine uses keyContent
	keyContent
}

type keyContent struct {
	read  bool
	state fileState // the state of the file when it was read
	file  File
	asked ssh.Signer            // the key decrypted with an answer of the user
	keys  map[string]ssh.Signer // the decrypted key by passphrase; nil for a wrong passphrase
}

// fileState detects changes of a file. Certificates in particular may be renewed every few hours. A
// file that is not regular, such as the pipe of a process substitution, can be read only once.
type fileState struct {
	modified time.Time
	size     int64
	once     bool
}

// entry returns the entry of a key. The caller must call its release.
func (k *Ring) entry(ctx context.Context, id keyID) (*keyEntry, error) {
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

func (e *keyEntry) release() { <-e.token }

// Read reads a file, which may be missing: see [File]. The error is that of ctx.
func (k *Ring) Read(ctx context.Context, path string) (File, error) {
	e, err := k.entry(ctx, keyID{source: path})
	if err != nil {
		return File{}, err
	}
	defer e.release()
	e.refresh(ctx, path)
	return e.file, deadline.Cause(ctx)
}

// ReadData is Read for a key in memory.
func (k *Ring) ReadData(ctx context.Context, data []byte) (File, error) {
	e, err := k.entry(ctx, keyID{string(data), true})
	if err != nil {
		return File{}, err
	}
	defer e.release()
	if !e.read {
		e.file, e.read = Parse("", data), true
	}
	return e.file, nil
}

// refresh reads the file if it has changed.
func (e *keyEntry) refresh(ctx context.Context, path string) {
	info, err := os.Stat(path)
	if err != nil {
		if !e.state.once {
			e.keyContent = keyContent{file: File{Err: withoutPath(err)}}
		}
		return
	}
	state := fileState{info.ModTime(), info.Size(), !info.Mode().IsRegular() && !info.IsDir()}
	if e.read && (state == e.state || state.once) {
		return
	}
	data, err := readKeyFile(ctx, path)
	file := File{Err: err}
	if err == nil {
		file = Parse(path, data)
	}
	e.keyContent = keyContent{read: ctx.Err() == nil, state: state, file: file}
}

// Secrets decrypt keys.
type Secrets struct {
	Passphrase string // the passphrase of the key; if it is wrong, the user is not asked
	Password   string // the login password, which is tried if Passphrase is empty

	// Ask asks the user for a passphrase. If it is nil, the user is not asked.
	Ask func(ctx context.Context, prompt string) (string, error)
}

// Given returns the passphrase to try, or "" if there is none.
func (s *Secrets) Given() string { return cmp.Or(s.Passphrase, s.Password) }

// Open decrypts the key in the file at path, or in data if path is empty. The file must have been
// read. If no passphrase is given, and the login password is not the passphrase, Open asks the
// user, once for all hosts. The error is that of ctx, or why the key cannot be decrypted.
func (k *Ring) Open(ctx context.Context, s *Secrets, path string, data []byte) (ssh.Signer, error) {
	e, err := k.entry(ctx, keyID{string(data) + path, path == ""})
	if err != nil {
		return nil, err
	}
	defer e.release()
	switch {
	case e.file.Signer != nil:
		return e.file.Signer, nil
	case e.file.Locked == nil:
		return nil, e.file.Err
	}
	passphrase := s.Given()
	if passphrase != "" {
		signer, err := e.unlock(passphrase)
		// If the login password is not the passphrase, ask the user.
		if err == nil || s.Passphrase != "" || s.Ask == nil {
			return signer, err
		}
	}
	if e.asked != nil {
		return e.asked, nil
	}
	if s.Ask == nil {
		return nil, Encrypted{e.file.Public}
	}
	what := "the private key"
	if path != "" {
		what = "key " + path
	}
	passphrase, err = s.Ask(ctx, "Passphrase for "+what+": ")
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, deadline.Cause(ctx)
	case err != nil:
		return nil, err
	case passphrase == "":
		return nil, Encrypted{e.file.Public}
	}
	e.asked, err = e.unlock(passphrase)
	return e.asked, err
}

// unlock decrypts the key. It caches the result for each passphrase, right or wrong: decrypting
// takes a good part of a second, and a thousand hosts may share a password.
func (e *keyEntry) unlock(passphrase string) (ssh.Signer, error) {
	signer, tried := e.keys[passphrase]
	if !tried {
		var err error
		signer, err = Unlock(e.file.Locked, passphrase)
		if err != nil && !errors.Is(err, ErrWrongPassphrase) {
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
		return nil, ErrWrongPassphrase
	}
	return signer, nil
}

// maxPassphrases limits how many passphrases are cached for one key.
const maxPassphrases = 64

// readKeyFile reads a file of at most keyFileLimit bytes. It does not wait for a pipe without a
// writer.
func readKeyFile(ctx context.Context, path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, withoutPath(err)
	}
	defer f.Close()
	// SetReadDeadline fails for regular files, whose reads do not block.
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

// withoutPath drops the path from an error, for messages that contain it already.
func withoutPath(err error) error {
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		return pe.Err
	}
	return err
}
