package fleetssh

import (
	"errors"
	"io"
	"strings"
	"syscall"
	"time"

	"fleetssh/internal/conn"
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
