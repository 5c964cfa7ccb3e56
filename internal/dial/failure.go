package dial

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/crypto/ssh"

	"fleetssh/internal/deadline"
	"fleetssh/internal/identity"
	"fleetssh/internal/knownhosts"
)

// Kind is what kind of error a [Failure] is to users.
type Kind int

// The kinds of failures.
const (
	NotConnected     Kind = iota // there is no connection, or no longer
	UnknownHost                  // the name cannot be resolved
	TimedOut                     // the time was up
	BadHostKey                   // the key of the host is not to be trusted
	BadKeyFile                   // a private key or certificate cannot be used
	LoginRefused                 // the host takes nothing that was offered
	PasswordWithheld             // the password was not sent: it is known to be wrong
	HopFailed                    // a hop failed, or a proxy
	ForwardRefused               // a hop does not forward connections
)

// Failure is why there is no connection to a host. It must not be changed once it is made:
// all hosts behind a hop are told the same one.
type Failure struct {
	Kind Kind

	Host     string // as users know it
	Port     int
	Phase    Phase
	Attempts int           // how many were made; zero: they do not count
	After    time.Duration // if TimedOut: how long it took; zero: that is not told
	Said     string        // what the host said before it spoke SSH, or in its place; harmless
	Err      error         // the cause

	// Foreign says, if TimedOut, that the host speaks something other than SSH: another
	// attempt would end the same.
	Foreign bool

	// Hop is the hop or proxy at fault if HopFailed, and Err what went wrong there. Own says
	// that an attempt of the host itself has failed, so that another may succeed: a lost hop
	// may come back, and a proxy was tried once. A hop that cannot be reached has made
	// attempts of its own.
	Hop string
	Own bool

	Key   ssh.PublicKey // if BadHostKey: what the host showed; or nil
	Known []string      // if BadHostKey: the algorithms of other keys by which the host is known

	Path string // if BadKeyFile; empty: the key is in memory

	User  string   // if LoginRefused or PasswordWithheld: whose login or password it is
	Tried []string // if LoginRefused: methods, in their order
	Keys  []string // if LoginRefused: the keys that were offered, in words

	Banner  string  // if LoginRefused
	Expired bool    // if LoginRefused: the password was right, and must be changed
	Notes   []error // if LoginRefused: what may explain it

	RefusedBy string // if PasswordWithheld: the host, or the KDC
	Kerberos  bool   // if PasswordWithheld: the KDC has refused it
}

// Error implements [error]. Users read the error that the library makes of a Failure.
func (f *Failure) Error() string {
	return fmt.Sprintf("connect to %s: %s: %v", f.Host, f.Phase, f.Err)
}

// Unwrap returns the cause.
func (f *Failure) Unwrap() error { return f.Err }

// Interrupted returns f as the failure of a context that has ended, and nil if it has not.
// A time-out names the phase, and a cancelled call stays recognizable by its cause.
func Interrupted(ctx context.Context, f Failure) *Failure {
	cause := deadline.Cause(ctx)
	if cause == nil {
		return nil
	}
	if errors.Is(cause, context.DeadlineExceeded) {
		f.Kind, f.Err = TimedOut, nil
		return &f
	}
	f.Kind, f.Err, f.After = NotConnected, cause, 0
	return &f
}

// KeyFailure returns the failure of a host whose key is not to be trusted.
func KeyFailure(host string, port int, key ssh.PublicKey, err error) *Failure {
	f := &Failure{Kind: BadHostKey, Host: host, Port: port, Phase: phaseHostKey, Key: key, Err: err}
	if fault, ok := errors.AsType[*knownhosts.KeyError](err); ok {
		f.Known = fault.Retry
	}
	return f
}

// keyFileFailure returns the failure of a host for a key or certificate that cannot be used.
// Other errors stay what they are.
func keyFileFailure(host string, err error) error {
	if e, ok := err.(*identity.FileError); ok {
		return &Failure{Kind: BadKeyFile, Host: host, Phase: phaseAuth, Path: e.Path, Err: e.Err}
	}
	return err
}

// hasKind reports whether err is a failure of a kind.
func hasKind(err error, kind Kind) bool {
	f, ok := err.(*Failure)
	return ok && f.Kind == kind
}

// withAttempts returns err with the number of attempts that were made.
func withAttempts(err error, n int) error {
	f, ok := err.(*Failure)
	if !ok {
		return err
	}
	told := *f
	switch f.Kind {
	case TimedOut, UnknownHost, NotConnected:
		told.Attempts = n
	case HopFailed:
		if f.Own {
			told.Err = withAttempts(f.Err, n)
		}
	}
	return &told
}
