package knownhosts

import (
	"errors"
	"fmt"
	"slices"

	"golang.org/x/crypto/ssh"
)

// Shown is what a host shows when it is asked for all its keys. Each key was asked
// for on a connection of its own, so that one says nothing about the others.
type Shown struct {
	Host    string
	Port    int // zero is 22
	Keys    []ssh.PublicKey
	Partial bool // it may have more

	// Alias is what the user calls the host, where that is not Host.
	Alias string

	// Refused says why keys, by their index, are refused whatever files say: Banned or
	// TooWeak. What a scan has kept so stays so.
	Refused map[int]Verdict
}

// Name returns what the host is called in a file.
func (s *Shown) Name() string { return hostNames(s.Host, s.Port)[0] }

// Standing is what files say about one of the keys that a host shows.
type Standing int

// The standings. Only a New key may be added without a second thought.
const (
	Listed         Standing = iota // the key is known
	Certified                      // a listed authority has signed it
	New                            // nothing is known of the host
	Other                          // not listed, but the host is known by another key that it shows, or by its certificate
	Mismatched                     // the host is known, by other keys than it shows
	Banned                         // the key, or the authority that has signed it, is revoked
	BadlyCertified                 // a listed authority has signed it, but not for this host and time
	TooWeak                        // it is shorter than it may be, whatever files say
)

// String says the standing in a word.
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

// Alarming reports whether a host that shows such a key needs somebody who looks
// into it.
func (s Standing) Alarming() bool { return s == Mismatched || s == Banned || s == BadlyCertified }

// A Verdict is the standing of one key.
type Verdict struct {
	Key      ssh.PublicKey
	Standing Standing

	// Lines are the reason, at most sixteen: if the standing is Mismatched those
	// with keys of the same type or, where there is none, all that are about the
	// host; if it is Banned or BadlyCertified the one line.
	Lines []Known

	Err error // what is wrong with a certificate; or nil
}

// Judge returns the standing of each of the keys that a host shows.
//
// A key of a type that is not listed for a known host is Other, if the host shows
// one of the keys that are, and Mismatched if it does not. It is not New: who can
// stand in between on some connections only would have a key of his own added.
func (db *DB) Judge(s Shown) []Verdict { return Union{db}.Judge(s) }

// Judge is that of [DB] for several that count as one.
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
			v.Standing, v.Lines, v.Err = Mismatched, ofType(fault.Known, plainKey(key).Type()), fault.Err
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

// certifies reports whether a key is a good certificate of a listed authority.
func (u Union) certifies(s Shown, key ssh.PublicKey) bool {
	cert, ok := key.(*ssh.Certificate)
	names := hostNames(s.Host, s.Port)
	return ok && checkCertificate(names[len(names)-1], cert) == nil && slices.ContainsFunc(u, func(db *DB) bool {
		return db.find(names, authority, encode(plainKey(cert.SignatureKey))) != nil
	})
}

// ofType returns the lines with keys of a type, or all if there are none, which
// can be only if there are more lines than an error names.
func ofType(lines []Known, keyType string) []Known {
	same := slices.DeleteFunc(slices.Clone(lines), func(k Known) bool { return k.Type != keyType })
	if len(same) == 0 {
		return lines
	}
	return same
}

// plainKey returns the key in a certificate, or the key itself.
func plainKey(key ssh.PublicKey) ssh.PublicKey {
	if cert, ok := key.(*ssh.Certificate); ok {
		return cert.Key
	}
	return key
}
