package knownhosts

import (
	"cmp"
	"fmt"
	"strings"

	"golang.org/x/crypto/ssh"
)

// A KeyError tells why the key of a host is not trusted. Its text does not name the host: the
// caller adds that.
type KeyError struct {
	Reason Reason
	Key    ssh.PublicKey // the key or certificate that the host showed

	// Known holds the lines that are the reason, at most sixteen: the lines with other keys if
	// Changed, the line with the marker if Revoked, the line of the authority if BadCertificate.
	Known []Known

	// Retry, if not nil, holds the algorithms to ask for on a second connection: the host is
	// known by keys of other types than it showed. That alone does not mean an attack: the host
	// may have both, and prefer the other. If the second connection finds no common algorithm,
	// continue as if Retry were nil. Retry may be set if Changed, and if Unknown on a port other
	// than 22: connect again before adding the host.
	Retry []string

	// Err has details: what is wrong with the certificate, also if Changed; what exactly is
	// revoked or too weak.
	Err error

	Unread   []string // if Unknown: files that could not be read, and why
	NotAdded error    // if Unknown: why the host could not be added
}

// A Reason is why a key is not trusted.
type Reason int

// The reasons. Only an unknown host may be added.
const (
	Unknown        Reason = iota // no line is about the host
	Changed                      // the lines about the host list other keys
	Revoked                      // the key, or the authority that signed it, is revoked
	BadCertificate               // a listed authority signed it, but not for this host and time
	Weak                         // the key is shorter than allowed
)

// String returns the reason in a word or two.
func (r Reason) String() string {
	switch r {
	case Unknown:
		return "unknown"
	case Changed:
		return "changed"
	case Revoked:
		return "revoked"
	case BadCertificate:
		return "bad certificate"
	case Weak:
		return "weak"
	}
	return fmt.Sprintf("Reason(%d)", int(r))
}

// A Known is a key in a known_hosts file.
type Known struct {
	File        string
	Line        int // 0: the whole file
	Type        string
	Fingerprint string // SHA256:…
}

// String returns the key and its line, as "ssh-rsa SHA256:… in FILE:LINE".
func (k Known) String() string { return k.Type + " " + k.Fingerprint + " in " + k.Place() }

// Place returns the line, as FILE:LINE.
func (k Known) Place() string {
	if k.Line == 0 {
		return k.File
	}
	return fmt.Sprintf("%s:%d", k.File, k.Line)
}

// Error implements [error]. It does not name the host.
func (e *KeyError) Error() string {
	shown := e.Key
	cert, certified := shown.(*ssh.Certificate)
	if certified {
		shown = cert.Key
	}
	text := shown.Type() + " " + ssh.FingerprintSHA256(shown)
	switch e.Reason {
	case Unknown:
		text += ": host key is not known"
		if certified {
			text += ", nor is the authority " + ssh.FingerprintSHA256(cert.SignatureKey)
		}
		if e.Err != nil {
			text += fmt.Sprintf(" (its certificate: %v)", e.Err)
		}
		if e.NotAdded != nil {
			text += fmt.Sprintf(", and cannot be added: %v", e.NotAdded)
		}
		if len(e.Unread) > 0 {
			text += " (not read: " + strings.Join(e.Unread, ", ") + ")"
		}
	case Changed:
		known := make([]string, len(e.Known))
		for i, k := range e.Known {
			known[i] = k.String()
		}
		text += ": host key has changed: known is " + strings.Join(known, ", ")
		if e.Err != nil {
			text += fmt.Sprintf(" (its certificate: %v)", e.Err)
		}
	case Revoked:
		text += fmt.Sprintf(": host key is revoked: %v", e.Known[0])
		if e.Err != nil {
			text += fmt.Sprintf(" (%v)", e.Err)
		}
	case Weak:
		text += fmt.Sprintf(": host key is too weak: %v", e.Err)
	case BadCertificate:
		text += fmt.Sprintf(": host certificate is not valid: %v (signed by %v)", e.Err, e.Known[0])
	}
	return text
}

// Unwrap returns Err, or else NotAdded.
func (e *KeyError) Unwrap() error { return cmp.Or(e.Err, e.NotAdded) }
