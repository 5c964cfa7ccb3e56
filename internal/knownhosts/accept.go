package knownhosts

import (
	"crypto/rand"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"

	"fleetssh/internal/algorithms"
)

// Acceptance holds the keys that [Accept] adds.
type Acceptance struct {
	Hosts []Accepted
	Hash  bool // hash the names of the hosts, as ssh-keygen -H does
}

// Accepted is a host and those of its keys that are to be trusted.
type Accepted struct {
	Shown
	Take []ssh.PublicKey // some of Keys, no certificates; keys that are listed already are skipped

	// Replace removes the lines with other keys of the same type; if the host shows none of
	// the keys that are listed for it, it removes the lines with keys of any type.
	Replace bool
}

// Written tells what Accept has changed.
type Written struct {
	Added, Removed int    // lines
	Backup         string // a copy of the old file; empty if nothing was removed
}

// maxRewrites is how often Accept starts again because a program that ignores locks, such as
// ssh, has written to the file.
const maxRewrites = 10

// Accept adds keys to the first of the files, which is created if it is missing. Keys are judged
// by all the files that exist. Accept writes everything at once, or nothing if it returns an
// error: it replaces the file with a complete one that is already on disk. If it removes lines,
// it keeps the old file under its name with ".old", as ssh-keygen -R does.
//
// The file is locked meanwhile, as in [DB.Add], and hosts are judged again by what it contains
// then. It is an error if a key is Mismatched and not to be replaced, if it is Banned, or if a
// pattern or another file lists another key.
//
// A [DB] that has read the files before does not see the change.
func Accept(files []string, a Acceptance) (Written, error) {
	for range maxRewrites {
		done, err := acceptOnce(files, &a)
		if !errors.Is(err, errModified) {
			return done, err
		}
	}
	return Written{}, fmt.Errorf("write %s: %w", files[0], errModified)
}

func acceptOnce(files []string, a *Acceptance) (Written, error) {
	f, err := openLocked(files[0])
	if err != nil {
		return Written{}, err
	}
	defer f.Close() // unlocks it
	info, err := f.Stat()
	if err != nil {
		return Written{}, err
	}
	before, err := readAll(io.NewSectionReader(f, 0, info.Size()), files[0])
	if err != nil {
		return Written{}, err
	}
	db := new(DB)
	db.add(before, files[0], 0)
	for _, file := range files[1:] {
		db.TryFile(file)
	}
	r := &rewrite{file: files[0], text: before, hash: a.Hash}
	for i := range a.Hosts {
		if err := r.accept(db, &a.Hosts[i]); err != nil {
			return Written{}, fmt.Errorf("%s: %w", a.Hosts[i].Name(), err)
		}
	}
	if r.Added == 0 && r.Removed == 0 {
		return r.Written, nil
	}
	if r.Removed > 0 {
		r.Backup = files[0] + ".old"
		if err := replaceFile(r.Backup, before, nil, info); err != nil {
			return Written{}, err
		}
	}
	if err := replaceFile(files[0], r.text+r.more.String(), f, info); err != nil {
		return Written{}, err
	}
	return r.Written, nil
}

// rewrite is the new text of a file, in the making.
type rewrite struct {
	Written
	file string
	text string          // the old text without the removed lines
	more strings.Builder // lines to append
	hash bool
	seen map[string]bool // the entries of more, by name and key
}

// accept adds the keys of one host.
func (r *rewrite) accept(db *DB, a *Accepted) error {
	if err := checkName(a.Host); err != nil {
		return err
	}
	verdicts := db.Judge(a.Shown)
	var wrong []Verdict
	for _, key := range a.Take {
		i := slices.IndexFunc(a.Keys, func(k ssh.PublicKey) bool { return encode(k) == encode(key) })
		if i < 0 {
			return fmt.Errorf("%s %s is not among the keys that it showed", key.Type(), ssh.FingerprintSHA256(key))
		}
		switch v := verdicts[i]; {
		case v.Standing == Listed:
			continue
		case v.Standing == Mismatched && a.Replace:
			wrong = append(wrong, v)
		case v.Standing != New && v.Standing != Other:
			if err := db.Check(a.Host, a.Port, key); err != nil {
				return err
			}
			return fmt.Errorf("%s %s is %s", key.Type(), ssh.FingerprintSHA256(key), v.Standing)
		}
		if err := r.add(a.Name(), algorithms.PlainKey(key)); err != nil {
			return err
		}
	}
	if len(wrong) == 0 {
		return nil
	}
	vouched := a.Partial || slices.ContainsFunc(verdicts, func(v Verdict) bool { return v.Standing == Listed || v.Standing == Certified })
	return r.remove(a, db.unmarked(a.Name()), func(l *line) bool {
		return !vouched || slices.ContainsFunc(wrong, func(v Verdict) bool { return v.Key.Type() == l.keyType })
	})
}

// add appends a line, once.
func (r *rewrite) add(name string, key ssh.PublicKey) error {
	text := key.Type() + " " + encode(key)
	if r.seen[name+" "+text] {
		return nil
	}
	if r.seen == nil {
		r.seen = make(map[string]bool)
	}
	r.seen[name+" "+text] = true
	if r.text != "" && !strings.HasSuffix(r.text, "\n") {
		r.text += "\n"
	}
	if r.hash {
		hashed, err := hashName(name)
		if err != nil {
			return err
		}
		name = hashed
	}
	fmt.Fprintf(&r.more, "%s %s\n", name, text)
	r.Added++
	return nil
}

// remove removes the wrong lines about a host, except those with a key that the host shows.
func (r *rewrite) remove(a *Accepted, lines []*line, wrong func(*line) bool) error {
	keys := make(map[string]bool)
	for _, l := range lines {
		if !wrong(l) || slices.ContainsFunc(a.Keys, func(k ssh.PublicKey) bool { return encode(k) == l.key }) {
			continue
		}
		if l.file != r.file {
			return fmt.Errorf("%v: remove it there, or make that file the one to write", known(l)[0])
		}
		keys[l.key] = true
	}
	text, removed, err := without(r.text, a.Name(), keys)
	if err != nil {
		return fmt.Errorf("%s:%w", r.file, err)
	}
	r.text = text
	r.Removed += removed
	return nil
}

// without returns the text of a file without the lines that list one of the keys for a host, and
// how many there were. From a line that lists other hosts too, it removes only the name.
func without(text, name string, keys map[string]bool) (string, int, error) {
	var p parser
	var kept strings.Builder
	number, removed := 0, 0
	for row := range strings.Lines(text) {
		number++
		l, err := p.parse(strings.TrimSuffix(row, "\n"))
		if err != nil || l.marker != unmarked || !keys[l.key] || !l.matches(name) {
			kept.WriteString(row)
			continue
		}
		if !l.hashed && !l.isLiteral() {
			return "", 0, fmt.Errorf("%d: a pattern in this line matches %s and other hosts: change it by hand", number, name)
		}
		removed++
		others := slices.DeleteFunc(strings.Split(l.patterns, ","), func(n string) bool { return n == name || n == "" })
		if len(others) > 0 { // none, if the line is hashed
			_, rest := cutField(strings.TrimLeft(row, " \t"))
			kept.WriteString(strings.Join(others, ",") + " " + rest)
		}
	}
	return kept.String(), removed, nil
}

// hashName returns a name in its hashed form, with a new salt.
func hashName(name string) (string, error) {
	var salt [sha1.Size]byte
	if _, err := rand.Read(salt[:]); err != nil {
		return "", err
	}
	sum := newHasher(name).sum(&salt)
	encode := base64.StdEncoding.EncodeToString
	return "|1|" + encode(salt[:]) + "|" + encode(sum[:]), nil
}

// WriteFile replaces the file at path atomically with one that only its owner can read.
func WriteFile(path, text string) error { return replaceFile(path, text, nil, nil) }
