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
)

// Acceptance is what is to be trusted from now on.
type Acceptance struct {
	Hosts []Accepted
	Hash  bool // the names of the hosts are hashed, as by ssh-keygen -H
}

// Accepted is a host and those of its keys that are to be trusted.
type Accepted struct {
	Shown
	Take []ssh.PublicKey // some of Keys, no certificates; what is listed already is passed over

	// Replace takes out the lines with other keys of the same type, and those with
	// keys of any type if the host shows none of the keys that are listed for it.
	Replace bool
}

// Written is what Accept has done.
type Written struct {
	Added, Removed int    // lines
	Backup         string // the file as it was; empty if nothing was removed
}

// maxRewrites is how often Accept begins anew because somebody who knows nothing of
// locks, as ssh, has written to the file meanwhile.
const maxRewrites = 10

// Accept adds keys to the first of the files, which is made if it is missing. The
// others count when keys are judged, as far as they exist. All is written at once or,
// if the error is not nil, nothing: the file is replaced by another one that is
// complete and on the disk. If lines were removed, the file as it was is kept under
// its name with ".old", as by ssh-keygen -R.
//
// The file is locked meanwhile, as by [DB.Add]. Hosts are judged again as the file
// is then. A key that is Mismatched and not to be replaced, or Banned, or that a
// pattern or another file lists otherwise, is an error.
//
// A [DB] that has read the files before does not know of it.
func Accept(files []string, a Acceptance) (Written, error) {
	for range maxRewrites {
		done, err := acceptOnce(files, &a)
		if !errors.Is(err, errGrown) {
			return done, err
		}
	}
	return Written{}, fmt.Errorf("write %s: %w", files[0], errGrown)
}

func acceptOnce(files []string, a *Acceptance) (Written, error) {
	f, err := openLocked(files[0])
	if err != nil {
		return Written{}, err
	}
	defer f.Close() // which unlocks it
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
	r := &rewriting{file: files[0], text: before, hash: a.Hash}
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
		if err := writeWhole(r.Backup, before, nil, info); err != nil {
			return Written{}, err
		}
	}
	if err := writeWhole(files[0], r.text+r.more.String(), f, info); err != nil {
		return Written{}, err
	}
	return r.Written, nil
}

// rewriting is the text of a file on its way to another one.
type rewriting struct {
	Written
	file string
	text string          // without what was removed
	more strings.Builder // lines that come behind it
	hash bool
	seen map[string]bool // what more says: name and key
}

// accept adds the keys of one host.
func (r *rewriting) accept(db *DB, a *Accepted) error {
	if err := checkName(a.Host); err != nil {
		return err
	}
	verdicts := db.Judge(a.Shown)
	var wrong []Verdict
	for _, key := range a.Take {
		i := slices.IndexFunc(a.Keys, func(k ssh.PublicKey) bool { return encode(k) == encode(key) })
		if i < 0 {
			return fmt.Errorf("%s %s is not what it showed", key.Type(), ssh.FingerprintSHA256(key))
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
		if err := r.add(a.Name(), plainKey(key)); err != nil {
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

// add adds a line.
func (r *rewriting) add(name string, key ssh.PublicKey) error {
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

// remove removes those of the lines about a host that are wrong and whose key the host
// does not show.
func (r *rewriting) remove(a *Accepted, lines []*line, wrong func(*line) bool) error {
	gone := make(map[string]bool)
	for _, l := range lines {
		if !wrong(l) || slices.ContainsFunc(a.Keys, func(k ssh.PublicKey) bool { return encode(k) == l.key }) {
			continue
		}
		if l.file != r.file {
			return fmt.Errorf("%v: take it out there, or name that file as the one to write", known(l)[0])
		}
		gone[l.key] = true
	}
	text, removed, err := without(r.text, a.Name(), gone)
	if err != nil {
		return fmt.Errorf("%s:%w", r.file, err)
	}
	r.text = text
	r.Removed += removed
	return nil
}

// without returns the text of a file without the lines that list one of the keys for a
// host: without its name, where a line lists others too. It returns how many there
// were.
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
			return "", 0, fmt.Errorf("%d: the line is about %s and others by a pattern: it has to be changed by hand", number, name)
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

// hashName returns a name as it stands in a line that does not tell it.
func hashName(name string) (string, error) {
	var salt [sha1.Size]byte
	if _, err := rand.Read(salt[:]); err != nil {
		return "", err
	}
	sum := newHasher(name).sum(&salt)
	encode := base64.StdEncoding.EncodeToString
	return "|1|" + encode(salt[:]) + "|" + encode(sum[:]), nil
}

// WriteFile puts a file with this text, which only its owner can read, in the place
// of the one there is, all at once.
func WriteFile(path, text string) error { return writeWhole(path, text, nil, nil) }
