// Package dial makes connections to hosts that are logged in: by TCP, through hops, proxies
// and commands, or over the connection of an OpenSSH master. It says why there is none.
package dial

import "time"

const (
	// DefaultDelay is between two attempts if nothing else is set.
	DefaultDelay = 5 * time.Second

	// refusedDelay is before the second attempt when nobody listens at the port: a service
	// that is being restarted listens again soon. It doubles each time.
	refusedDelay = 200 * time.Millisecond

	// penaltyDelay is how long to keep away from a host that lets nobody in from here.
	// sshd's penalties take 15 seconds at least, and more tries may add to them.
	penaltyDelay = 20 * time.Second
)

// Delay returns how long to wait after attempt number n, which has failed with err, if the
// user has not set a time.
func Delay(err error, n int) time.Duration {
	switch {
	case IsPenalty(err):
		return penaltyDelay
	case isRefused(err):
		return min(refusedDelay<<min(n-1, 10), DefaultDelay)
	}
	return DefaultDelay
}
