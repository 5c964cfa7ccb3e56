package fleetssh

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
	// refusedDelay is before the second attempt when nobody listens at the port: a
	// service that is being restarted does in a moment. It doubles each time.
	refusedDelay = 200 * time.Millisecond

	// penaltyDelay is how long to keep away from a host that lets nobody in from here.
	// sshd's penalties take 15 seconds at least, and more tries may add to them.
	penaltyDelay = 20 * time.Second
)

// pause returns how long to wait after attempt number n, which has failed with err.
func (h *HostConfig) pause(err error, n int) time.Duration {
	switch {
	case h.RetryDelay != 0:
		return h.retryDelay()
	case isPenalty(err):
		return penaltyDelay
	case isRefusedConnection(err):
		return min(refusedDelay<<min(n-1, 10), defaultRetryDelay)
	}
	return defaultRetryDelay
}

// isRefusedConnection reports whether something answered that nobody listens there:
// the host itself, or for it a hop or a proxy, of which there are only the words.
func isRefusedConnection(err error) bool {
	e, ok := err.(*ConnectionError)
	return ok && e.Phase == "connect" && strings.Contains(strings.ToLower(e.Err.Error()), "refused")
}

// isPenalty reports whether the host does not let anybody in from here for a while.
func isPenalty(err error) bool {
	e, ok := err.(*ConnectionError)
	return ok && isDropped(err) && strings.Contains(strings.ToLower(e.Said), conn.PenaltyWords)
}

// isDropped reports whether the host has ended the connection before it said
// anything, or because it is busy, as sshd does when too many logins are under way
// (MaxStartups).
func isDropped(err error) bool {
	e, ok := err.(*ConnectionError)
	return ok && e.Phase == "handshake" && (errors.Is(e.Err, io.EOF) || errors.Is(e.Err, syscall.ECONNRESET) || errors.Is(e.Err, syscall.EPIPE))
}

// temporary reports whether another attempt may go better: the host did not
// answer, or refused the connection, or dropped it. A refused login, a wrong key
// and a host that speaks no SSH stay what they are.
func temporary(err error) bool {
	switch e := err.(type) {
	case *TimeoutError:
		return !e.foreign
	case *UnknownHostError:
		dns, ok := errors.AsType[*net.DNSError](e.Err)
		return ok && !dns.IsNotFound && (dns.IsTemporary || dns.IsTimeout)
	case *ConnectionError:
		if e.Phase == "connect" {
			t, ok := errors.AsType[*transport.Error](e.Err)
			return !ok || !t.Argument
		}
		return errors.Is(e.Err, io.EOF) || errors.Is(e.Err, syscall.ECONNRESET) || errors.Is(e.Err, syscall.EPIPE)
	case *ProxyError:
		// A command that has failed by itself may have asked somebody.
		return e.own && !transport.Failed(e.Err)
	}
	return false
}

// withAttempts returns err with the number of attempts that were made. It leaves err as it
// is: others may have been told the same one.
func withAttempts(err error, n int) error {
	switch e := err.(type) {
	case *TimeoutError:
		told := *e
		told.Attempts = n
		return &told
	case *UnknownHostError:
		told := *e
		told.Attempts = n
		return &told
	case *ConnectionError:
		told := *e
		told.Attempts = n
		return &told
	case *ProxyError:
		if e.own {
			told := *e
			told.Err = withAttempts(e.Err, n)
			return &told
		}
	}
	return err
}
