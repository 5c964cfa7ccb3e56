package dial

import (
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
	"time"

	"fleetssh/internal/conn"
	"fleetssh/internal/transport"
)

const (
	// refusedDelay is the delay after the first attempt if the connection was refused: a
	// service that is restarting listens again soon. The delay doubles with each attempt.
	refusedDelay = 200 * time.Millisecond

	// penaltyDelay is the delay after sshd rejected this client because of a penalty
	// (PerSourcePenalties). Penalties last at least 15 seconds, and further attempts may
	// prolong them.
	penaltyDelay = 20 * time.Second
)

// delay returns how long to wait after attempt number n, which failed with err. A RetryDelay that
// the user set applies to every error.
func (c *Config) delay(err error, n int) time.Duration {
	switch {
	case c.FixedDelay:
	case isPenalty(err):
		return penaltyDelay
	case isRefused(err):
		return min(refusedDelay<<min(n-1, 10), c.RetryDelay)
	}
	return c.RetryDelay
}

// isTemporary reports whether another attempt may succeed: the host did not answer, or it refused
// or dropped the connection. A refused login, an untrusted key and a host that does not speak SSH
// are permanent.
func isTemporary(err error) bool {
	f, ok := err.(*Failure)
	if !ok {
		return false
	}
	switch f.Kind {
	case TimedOut:
		return !f.NotSSH
	case UnknownHost:
		dns, ok := errors.AsType[*net.DNSError](f.Err)
		return ok && !dns.IsNotFound && (dns.IsTemporary || dns.IsTimeout)
	case NotConnected:
		if f.Phase == phaseConnect {
			t, ok := errors.AsType[*transport.Error](f.Err)
			return !ok || !t.Argument
		}
		return hungUp(f.Err)
	case HopFailed:
		// A proxy command that exited with an error may have asked the user: do not ask
		// again.
		return f.Retryable && !transport.Failed(f.Err)
	}
	return false
}

// hungUp reports whether err means that the other side closed the connection.
func hungUp(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// isDropped reports whether the host closed the connection before the SSH handshake was complete,
// as sshd does when too many logins are pending (MaxStartups).
func isDropped(err error) bool {
	f, ok := err.(*Failure)
	return ok && f.Kind == NotConnected && f.Phase == phaseHandshake && hungUp(f.Err)
}

// isRefused reports whether the connection was refused. If a hop or proxy reports that, there is
// only its text to look at.
func isRefused(err error) bool {
	f, ok := err.(*Failure)
	return ok && f.Kind == NotConnected && f.Phase == phaseConnect && strings.Contains(strings.ToLower(f.Err.Error()), "refused")
}

// isPenalty reports whether sshd rejects this client for a while (PerSourcePenalties).
func isPenalty(err error) bool {
	f, ok := err.(*Failure)
	return ok && isDropped(err) && strings.Contains(strings.ToLower(f.Said), conn.PenaltyText)
}
