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

// keyFileLimit bounds what is read of a key or certificate file.
const keyFileLimit = 1 << 20

// Ring holds the key files that have been read, so that a key is read and
// decrypted once for all hosts. Its methods may be called from many goroutines: a
// file that is slow to read holds up only those who want that file.
type Ring struct {
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
	file  File
	asked ssh.Signer            // opened with an answer of the user
	keys  map[string]ssh.Signer // opened, by the passphrase; nil where that is wrong
}

// fileState tells one content of a file from the next: certificates in particular
// are made anew every few hours. A file that is not regular, such as the pipe of a
// process substitution, can be read only once.
type fileState struct {
	modified time.Time
	size     int64
	once     bool
}

// entry returns the entry of a key, to be given back with leave.
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

func (e *keyEntry) leave() { <-e.token }

// Look returns what is in a file, which need not exist. The only error is ctx's.
func (k *Ring) Look(ctx context.Context, path string) (File, error) {
	e, err := k.entry(ctx, keyID{source: path})
	if err != nil {
		return File{}, err
	}
	defer e.leave()
	e.refresh(ctx, path)
	return e.file, deadline.Cause(ctx)
}

// LookData does the same for a key in memory.
func (k *Ring) LookData(ctx context.Context, data []byte) (File, error) {
	e, err := k.entry(ctx, keyID{string(data), true})
	if err != nil {
		return File{}, err
	}
	defer e.leave()
	if !e.read {
		e.file, e.read = Parse("", data), true
	}
	return e.file, nil
}

// refresh reads the file, if it has changed.
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

// Secrets are what opens encrypted keys.
type Secrets struct {
	Passphrase string // that is given for the key; if it is wrong, nobody is asked
	Password   string // that is tried if no passphrase is given

	// Ask asks the user for a passphrase; nil: there is nobody to ask.
	Ask func(ctx context.Context, prompt string) (string, error)
}

// Given returns the passphrase to try, empty if none is given.
func (s *Secrets) Given() string { return cmp.Or(s.Passphrase, s.Password) }

// Open returns the private half of an encrypted key: of the file at path, or of data
// if path is empty. An encrypted key whose passphrase is not given is asked for, once
// for all hosts, if there is somebody to ask. The error is ctx's, or says why
// there is no key.
func (k *Ring) Open(ctx context.Context, s *Secrets, path string, data []byte) (ssh.Signer, error) {
	e, err := k.entry(ctx, keyID{string(data) + path, path == ""})
	if err != nil {
		return nil, err
	}
	defer e.leave()
	switch {
	case e.file.Signer != nil:
		return e.file.Signer, nil
	case e.file.Locked == nil:
		return nil, e.file.Err
	}
	passphrase := s.Given()
	if passphrase != "" {
		signer, err := e.unlock(passphrase)
		// A password that is not the passphrase does not answer the question.
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

// unlock decrypts the key, once for each passphrase, whether it is right or wrong:
// that takes a good part of a second, and a thousand hosts may share a password.
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

// maxPassphrases bounds how many passphrases are remembered for one key.
const maxPassphrases = 64

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
