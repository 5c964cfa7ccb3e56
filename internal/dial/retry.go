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
	// refusedDelay is before the second attempt when nobody listens at the port: a service
	// that is being restarted listens again soon. It doubles each time.
	refusedDelay = 200 * time.Millisecond

	// penaltyDelay is how long to keep away from a host that lets nobody in from here.
	// sshd's penalties take 15 seconds at least, and more tries may add to them.
	penaltyDelay = 20 * time.Second
)

// delay returns how long to wait after attempt number n, which has failed with err. What the user
// has set does not depend on why it failed.
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

// isTemporary reports whether another attempt may succeed: the host did not answer, or
// refused the connection, or dropped it. A refused login, a wrong key and a host that does
// not speak SSH stay what they are.
func isTemporary(err error) bool {
	f, ok := err.(*Failure)
	if !ok {
		return false
	}
	switch f.Kind {
	case TimedOut:
		return !f.Foreign
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
		// A command that has failed by itself may have asked somebody.
		return f.Own && !transport.Failed(f.Err)
	}
	return false
}

// hungUp reports whether err is the end of a connection by the other side.
func hungUp(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// isDropped reports whether the host has ended the connection before it said anything, or
// because it is busy, as sshd does when too many logins are under way (MaxStartups).
func isDropped(err error) bool {
	f, ok := err.(*Failure)
	return ok && f.Kind == NotConnected && f.Phase == phaseHandshake && hungUp(f.Err)
}

// isRefused reports whether something answered that nobody listens there: the host itself,
// or for it a hop or a proxy, of which there are only the words.
func isRefused(err error) bool {
	f, ok := err.(*Failure)
	return ok && f.Kind == NotConnected && f.Phase == phaseConnect && strings.Contains(strings.ToLower(f.Err.Error()), "refused")
}

// isPenalty reports whether the host does not let anybody in from here for a while.
func isPenalty(err error) bool {
	f, ok := err.(*Failure)
	return ok && isDropped(err) && strings.Contains(strings.ToLower(f.Said), conn.PenaltyText)
}
