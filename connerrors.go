package fleetssh

import (
	"context"
	"errors"

	"golang.org/x/crypto/ssh"

	"fleetssh/internal/dial"
)

// publicError returns the exported error for a failure of connecting. Only this function makes
// these errors; the steps of a session make their own. It returns any other error unchanged.
func publicError(err error) error {
	f, ok := err.(*dial.Failure)
	if !ok {
		return err
	}
	switch f.Kind {
	case dial.UnknownHost:
		return &UnknownHostError{Host: f.Host, Attempts: f.Attempts, Err: f.Err}
	case dial.TimedOut:
		return &TimeoutError{Host: f.Host, Port: f.Port, Phase: Phase(f.Phase), After: f.After, Attempts: f.Attempts, Said: f.Said}
	case dial.BadHostKey:
		return &HostKeyError{Host: f.Host, Port: f.Port, Key: f.Key, Known: f.Known, Err: f.Err}
	case dial.BadKeyFile:
		return &PKeyFileError{Host: f.Host, Path: f.Path, Err: f.Err}
	case dial.LoginRefused:
		notes := make([]error, len(f.Notes))
		for i, note := range f.Notes {
			notes[i] = publicError(note)
		}
		return &AuthenticationError{
			Host: f.Host, Port: f.Port, User: f.User, Tried: f.Tried, Keys: f.Keys,
			Banner: f.Banner, Expired: f.Expired, Err: joinErrors(notes),
		}
	case dial.PasswordWithheld:
		return &PasswordError{Host: f.Host, Port: f.Port, User: f.User, Phase: Phase(f.Phase), RefusedBy: f.RefusedBy, Kerberos: f.Kerberos}
	case dial.HopFailed:
		return &ProxyError{Host: f.Host, Hop: f.Hop, Err: publicError(f.Err)}
	case dial.ForwardRefused:
		return &SessionError{Host: f.Host, Port: f.Port, Phase: Phase(f.Phase), Err: f.Err}
	}
	return &ConnectionError{Host: f.Host, Port: f.Port, Phase: Phase(f.Phase), Attempts: f.Attempts, Said: f.Said, Err: f.Err}
}

// interrupted returns the error for a context that has ended, or err if it has not. The error of a
// time-out names the phase, and the error of a cancelled call matches context.Canceled.
func interrupted(ctx context.Context, err error, host *HostConfig, phase Phase) error {
	f := dial.Interrupted(ctx, dial.Failure{Host: host.name(), Port: host.port(), Phase: dial.Phase(phase)})
	if f == nil {
		return err
	}
	return publicError(f)
}

// failureOf translates an error of a user's DialContext back to a [dial.Failure] if it comes from
// another connection of this package, so that the final error names the host that failed.
func failureOf(err error) error {
	switch e := err.(type) {
	case *UnknownHostError:
		return &dial.Failure{Kind: dial.UnknownHost, Host: e.Host, Phase: dial.Phase(PhaseResolve), Attempts: e.Attempts, Err: e.Err}
	case *ConnectionError:
		return &dial.Failure{Kind: dial.NotConnected, Host: e.Host, Port: e.Port, Phase: dial.Phase(e.Phase), Attempts: e.Attempts, Said: e.Said, Err: e.Err}
	case *ProxyError:
		return &dial.Failure{Kind: dial.HopFailed, Host: e.Host, Phase: dial.Phase(PhaseProxy), Hop: e.Hop, Err: e.Err}
	case *PasswordError:
		return &dial.Failure{
			Kind: dial.PasswordWithheld, Host: e.Host, Port: e.Port, Phase: dial.Phase(e.Phase), User: e.User,
			RefusedBy: e.RefusedBy, Kerberos: e.Kerberos,
		}
	}
	return err
}

// keyFailureOf returns the error of a user's own HostKeyPolicy as a [dial.Failure].
func keyFailureOf(err error, key ssh.PublicKey) error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*HostKeyError](err); ok {
		return &dial.Failure{Kind: dial.BadHostKey, Host: e.Host, Port: e.Port, Phase: dial.Phase(PhaseHostKey), Key: e.Key, Known: e.Known, Err: e.Err}
	}
	return &dial.Failure{Kind: dial.BadHostKey, Phase: dial.Phase(PhaseHostKey), Key: key, Err: err}
}
