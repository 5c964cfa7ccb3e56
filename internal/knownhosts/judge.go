package knownhosts

import (
	"errors"
	"fmt"
	"slices"

	"golang.org/x/crypto/ssh"

	"fleetssh/internal/algorithms"
)

// Shown holds the keys that a host shows when it is asked for all of them. Each key comes from a
// connection of its own, so that one proves nothing about the others.
type Shown struct {
	Host    string
	Port    int // zero means 22
	Keys    []ssh.PublicKey
	Partial bool // the host may have more keys

	// Alias is the user's name for the host, if that is not Host.
	Alias string

	// Refused holds the verdicts, Banned or TooWeak, on keys that are refused whatever the files
	// say, by the index of the key. A saved scan keeps them.
	Refused map[int]Verdict
}

// Name returns the name of the host in a file.
func (s *Shown) Name() string { return hostNames(s.Host, s.Port)[0] }

// Standing is the verdict of the files on one key that a host shows.
type Standing int

// The standings. Only a New key may be added without a closer look.
const (
	Listed         Standing = iota // the key is listed for the host
	Certified                      // a listed authority has signed the key
	New                            // nothing is listed for the host
	Other                          // not listed, but the host is known by another key that it shows, or by its certificate
	Mismatched                     // the host is known by other keys than it shows
	Banned                         // the key, or the authority that has signed it, is revoked
	BadlyCertified                 // a listed authority has signed the key, but not for this host and time
	TooWeak                        // the key is shorter than allowed, whatever the files say
)

// String returns the standing in one word.
func (s Standing) String() string {
	switch s {
	case Listed:
		return "known"
	case Certified:
		return "certificate"
	case New:
		return "new"
	case Other:
		return "other"
	case Mismatched:
		return "changed"
	case Banned:
		return "revoked"
	case BadlyCertified:
		return "invalid"
	case TooWeak:
		return "weak"
	}
	return fmt.Sprintf("Standing(%d)", int(s))
}

// Alarming reports whether such a key may mean an attack, so that a person must check the host.
func (s Standing) Alarming() bool { return s == Mismatched || s == Banned || s == BadlyCertified }

// A Verdict is the standing of one key.
type Verdict struct {
	Key      ssh.PublicKey
	Standing Standing

	// Lines are the reason, at most sixteen. For Mismatched, they are the lines about the host
	// with keys of the same type, or else all lines about it; for Banned and BadlyCertified, the
	// one line.
	Lines []Known

	Err error // what is wrong with a certificate; or nil
}

// Judge returns the standing of each key that a host shows.
//
// If a known host shows a key of a type that is not listed for it, the key is Other if the host
// also shows one of the listed keys, and Mismatched if not. It is not New: an attacker who can
// intercept only some connections could have a key of his own added.
func (db *DB) Judge(s Shown) []Verdict { return Union{db}.Judge(s) }

// Judge is [DB.Judge].
func (u Union) Judge(s Shown) []Verdict {
	faults := make([]*KeyError, len(s.Keys))
	vouched := false
	for i, key := range s.Keys {
		_, refused := s.Refused[i]
		if !errors.As(u.Check(s.Host, s.Port, key), &faults[i]) && !refused {
			vouched = true
		}
	}
	verdicts := make([]Verdict, len(s.Keys))
	for i, key := range s.Keys {
		v := Verdict{Key: key}
		if refused, ok := s.Refused[i]; ok {
			v.Standing, v.Lines, v.Err = refused.Standing, refused.Lines, refused.Err
			verdicts[i] = v
			continue
		}
		switch fault := faults[i]; {
		case fault == nil:
			if u.certifies(s, key) {
				v.Standing = Certified
			}
		case fault.Reason == Revoked:
			v.Standing, v.Lines = Banned, fault.Known
		case fault.Reason == BadCertificate:
			v.Standing, v.Lines, v.Err = BadlyCertified, fault.Known, fault.Err
		case fault.Reason == Changed && fault.Retry == nil:
			v.Standing, v.Lines, v.Err = Mismatched, ofType(fault.Known, algorithms.PlainKey(key).Type()), fault.Err
		case vouched, fault.Reason == Changed && s.Partial:
			v.Standing = Other
		case fault.Reason == Changed:
			v.Standing, v.Lines, v.Err = Mismatched, fault.Known, fault.Err
		default:
			v.Standing = New
		}
		verdicts[i] = v
	}
	return verdicts
}

// certifies reports whether a key is a valid certificate of a listed authority.
func (u Union) certifies(s Shown, key ssh.PublicKey) bool {
	cert, ok := key.(*ssh.Certificate)
	names := hostNames(s.Host, s.Port)
	return ok && checkCertificate(names[len(names)-1], cert) == nil && slices.ContainsFunc(u, func(db *DB) bool {
		return db.find(names, authority, encode(algorithms.PlainKey(cert.SignatureKey))) != nil
	})
}

// ofType returns the lines with keys of a type. If there are none, because an error contains
// only some of the lines, it returns all.
func ofType(lines []Known, keyType string) []Known {
	same := slices.DeleteFunc(slices.Clone(lines), func(k Known) bool { return k.Type != keyType })
	if len(same) == 0 {
		return lines
	}
	return same
}
