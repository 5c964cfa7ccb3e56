package fleetssh

import (
	"time"

	"fleetssh/internal/dial"
)

// pause returns how long to wait after attempt number n, which has failed with err.
func (h *HostConfig) pause(err error, n int) time.Duration {
	if h.RetryDelay != 0 {
		return h.retryDelay()
	}
	return dial.Delay(err, n)
}
