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

// Kind is the kind of a [Failure]. It decides which public error users get.
type Kind int

// The kinds of failures.
const (
	NotConnected     Kind = iota // connecting failed, or the connection was lost
	UnknownHost                  // the name cannot be resolved
	TimedOut                     // the attempt timed out
	BadHostKey                   // the host key is not trusted
	BadKeyFile                   // a private key or certificate cannot be used
	LoginRefused                 // the host accepted no authentication method
	PasswordWithheld             // the password was not sent: it is known to be wrong
	HopFailed                    // a hop or proxy failed
	ForwardRefused               // a hop refuses to forward connections
)

// Failure says why a connection to a host failed. It must not change once it has been returned:
// all hosts behind a hop get the same Failure.
type Failure struct {
	Kind Kind

	Host     string // the name of the host in messages
	Port     int
	Phase    Phase
	Attempts int           // the number of attempts; zero: not reported
	After    time.Duration // if TimedOut: the time that the attempt took; zero: not reported
	Said     string        // what the host sent before SSH or instead of it, sanitized
	Err      error         // the cause

	// NotSSH says, if TimedOut, that the host speaks another protocol than SSH. Another attempt
	// would fail in the same way.
	NotSSH bool

	// Hop is the hop or proxy at fault if HopFailed, and Err says what went wrong there.
	// Retryable says that another attempt may succeed: a lost hop may come back, and a proxy
	// has been tried only once. It is false for a hop that cannot be reached, which has made
	// its own attempts.
	Hop       string
	Retryable bool

	Key   ssh.PublicKey // if BadHostKey: the key that the host showed; or nil
	Known []string      // if BadHostKey: the algorithms of other keys that are known for the host

	Path string // if BadKeyFile; empty: the key is in memory

	User  string   // if LoginRefused or PasswordWithheld: the login name, or the owner of the password
	Tried []string // if LoginRefused: the methods, in the order they were tried
	Keys  []string // if LoginRefused: descriptions of the offered keys

	Banner  string  // if LoginRefused
	Expired bool    // if LoginRefused: the password is correct but must be changed
	Notes   []error // if LoginRefused: possible reasons

	RefusedBy string // if PasswordWithheld: the host or KDC that refused the password
	Kerberos  bool   // if PasswordWithheld: RefusedBy is a KDC
}

// Error implements [error]. Users see the public error made from a Failure instead.
func (f *Failure) Error() string {
	return fmt.Sprintf("connect to %s: %s: %v", f.Host, f.Phase, f.Err)
}

// Unwrap returns the cause.
func (f *Failure) Unwrap() error { return f.Err }

// Interrupted returns a copy of f completed with why ctx has ended, or nil if ctx has not ended.
// A time-out is TimedOut; after a cancellation, Err is the cause.
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

// KeyFailure returns the failure for a host key that is not trusted.
func KeyFailure(host string, port int, key ssh.PublicKey, err error) *Failure {
	f := &Failure{Kind: BadHostKey, Host: host, Port: port, Phase: phaseHostKey, Key: key, Err: err}
	if fault, ok := errors.AsType[*knownhosts.KeyError](err); ok {
		f.Known = fault.Retry
	}
	return f
}

// keyFileFailure returns the failure for a private key or certificate that cannot be used. It
// returns other errors unchanged.
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

// withAttempts returns a copy of err with the number of attempts.
func withAttempts(err error, n int) error {
	f, ok := err.(*Failure)
	if !ok {
		return err
	}
	counted := *f
	switch f.Kind {
	case TimedOut, UnknownHost, NotConnected:
		counted.Attempts = n
	case HopFailed:
		if f.Retryable {
			counted.Err = withAttempts(f.Err, n)
		}
	}
	return &counted
}
