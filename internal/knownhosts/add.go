package knownhosts

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/crypto/ssh"

	"fleetssh/internal/algorithms"
)

// maxWait is how long Add waits for another process to unlock the file. Processes hold the lock
// only while they read and write.
const maxWait = 10 * time.Second

var errLocked = errors.New("locked by another process")

// Add trusts an unknown host: it adds a line to the DB and to the file, which is created if it
// is missing. The name is in clear text unless Hash is set.
//
// The file is locked meanwhile, so that many goroutines and processes may add hosts to it. Add
// first reads the lines that others have added since the last read: if the host is among them,
// it adds nothing, and if the host has another key there, the error is a [*KeyError], as from
// [DB.Check].
//
// A single write appends the line, so other readers see all of it or nothing. A symbolic link
// stays one.
func (db *DB) Add(path, host string, port int, key ssh.PublicKey) error {
	if err := checkName(host); err != nil {
		return err
	}
	db.adding.Lock()
	defer db.adding.Unlock()
	f, err := openLocked(path)
	if err != nil {
		return err
	}
	defer f.Close() // unlocks it
	if err := db.readAppended(f, path); err != nil {
		return err
	}
	err = db.Check(host, port, key)
	var keyError *KeyError
	if !errors.As(err, &keyError) || keyError.Reason != Unknown {
		return err
	}
	name := hostNames(host, port)[0]
	if db.Hash {
		if name, err = hashName(name); err != nil {
			return err
		}
	}
	key = algorithms.PlainKey(key)
	if err := appendLine(f, name+" "+key.Type()+" "+encode(key)); err != nil {
		return err
	}
	return db.readAppended(f, path)
}

// Remember is Add without a file: the host is trusted as long as the DB exists.
func (db *DB) Remember(host string, port int, key ssh.PublicKey) error {
	if err := checkName(host); err != nil {
		return err
	}
	db.adding.Lock()
	defer db.adding.Unlock()
	err := db.Check(host, port, key)
	if keyErr, ok := errors.AsType[*KeyError](err); !ok || keyErr.Reason != Unknown {
		return err
	}
	key = algorithms.PlainKey(key)
	db.add(hostNames(host, port)[0]+" "+key.Type()+" "+encode(key), "what it has shown before", -1)
	return nil
}

// openLocked opens a file for reading and appending, and locks it. Closing the file unlocks it.
func openLocked(path string) (*os.File, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	deadline := time.Now().Add(maxWait)
	for pause := 100 * time.Microsecond; ; pause = min(2*pause, 10*time.Millisecond) {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o600)
		if err != nil {
			return nil, err
		}
		err = lock(f)
		if err == nil && isAt(f, path) {
			return f, nil
		}
		f.Close()
		if err == nil {
			continue // ssh-keygen -R has replaced the file
		}
		if !errors.Is(err, errLocked) || time.Now().After(deadline) {
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		time.Sleep(pause)
	}
}

// isAt reports whether f is still the file at path.
func isAt(f *os.File, path string) bool {
	opened, err := f.Stat()
	if err != nil {
		return false
	}
	now, err := os.Stat(path)
	return err == nil && os.SameFile(opened, now)
}

// readAppended reads the part of the file that was appended since the last read, or all of it if
// it is another file now.
func (db *DB) readAppended(f *os.File, path string) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	db.mu.RLock()
	pos := db.files[path]
	db.mu.RUnlock()
	if pos.info == nil || !os.SameFile(pos.info, info) || info.Size() < pos.offset {
		pos = position{}
	}
	pos.info = info
	return db.readFrom(io.NewSectionReader(f, pos.offset, info.Size()-pos.offset), path, pos)
}

// appendLine appends a line. If the last line of the file has no newline, it adds that first.
func appendLine(f *os.File, text string) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	var line bytes.Buffer
	if size := info.Size(); size > 0 {
		var last [1]byte
		if _, err := f.ReadAt(last[:], size-1); err != nil {
			return err
		}
		if last[0] != '\n' {
			line.WriteByte('\n')
		}
	}
	line.WriteString(text)
	line.WriteByte('\n')
	_, err = f.Write(line.Bytes())
	return err
}
