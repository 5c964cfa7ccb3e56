package tunnel

import (
	"context"
	"time"

	"fleetssh/internal/socks"
)

// helloTimeout is how long a caller of a proxy may take to name its target.
const helloTimeout = 30 * time.Second

// ServeSOCKS serves a caller that speaks SOCKS 5, 4 or 4a.
func (t *Tunnel) ServeSOCKS(caller Caller, route Route) {
	stop := context.AfterFunc(t.ctx, func() { caller.Close() })
	defer stop()
	_ = caller.SetDeadline(time.Now().Add(helloTimeout)) // it fails only on a connection that is closed
	request, err := socks.ReadRequest(caller)
	if err != nil {
		caller.Close()
		return
	}
	stream, failure := route.open(t.ctx, request.Host, request.Port)
	_ = caller.SetDeadline(time.Now().Add(helloTimeout))
	if failure != nil {
		_ = request.Answer(caller, socksReply(failure.Cause)) // the caller may be gone
		caller.Close()
		return
	}
	_ = request.Answer(caller, socks.Granted)
	_ = caller.SetDeadline(time.Time{})
	Relay(t.ctx, stream, caller)
}

// socksReply returns the SOCKS reply for a cause.
func socksReply(cause Cause) socks.Reply {
	switch cause {
	case NotAllowed:
		return socks.NotAllowed
	case TargetRefuses:
		return socks.ConnectionRefused
	case HostRefuses:
		return socks.GeneralFailure
	case NoAnswer:
		return socks.TTLExpired
	}
	return socks.HostUnreachable
}
