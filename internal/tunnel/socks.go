package tunnel

import (
	"context"
	"time"

	"fleetssh/internal/socks"
)

// helloTimeout is how long a client of a proxy may take to send its request.
const helloTimeout = 30 * time.Second

// ServeSOCKS serves a client that speaks SOCKS 5, 4 or 4a.
func (t *Tunnel) ServeSOCKS(client ClientConn, route Route) {
	stop := context.AfterFunc(t.ctx, func() { client.Close() })
	defer stop()
	_ = client.SetDeadline(time.Now().Add(helloTimeout)) // it fails only on a connection that is closed
	request, err := socks.ReadRequest(client)
	if err != nil {
		client.Close()
		return
	}
	stream, failure := route.open(t.ctx, request.Host, request.Port)
	_ = client.SetDeadline(time.Now().Add(helloTimeout))
	if failure != nil {
		_ = request.Answer(client, socksReply(failure.Cause)) // the client may be gone
		client.Close()
		return
	}
	_ = request.Answer(client, socks.Granted)
	_ = client.SetDeadline(time.Time{})
	Relay(t.ctx, stream, client)
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
