package tunnel

import (
	"context"
	"fmt"
)

// Dialer opens channels to targets behind one host.
type Dialer struct {
	Host fmt.Stringer // as it is reported
	Dial func(ctx context.Context, to Address) (Stream, *Failure)
}

// Failure says why a channel to a target could not be opened.
type Failure struct {
	Err   error
	Cause Cause

	// Target says that the host was reached, but not the target. [Tunnel.Connect] reports that.
	// [Connector] reports that the host cannot be reached.
	Target bool
}

// Cause is the cause of a [Failure], as the client of a proxy gets it.
type Cause int

// The causes.
const (
	Unreachable   Cause = iota // the host cannot be reached
	NoAnswer                   // the host does not answer in time
	NotAllowed                 // the proxy or the host forbids the target
	TargetRefuses              // nobody listens at the target
	HostRefuses                // the host refuses for another reason
)

// Route says through which host a proxy connects to a name, and to which target. The Cause of its
// failures is NotAllowed.
type Route func(name string, port int) (Dialer, Address, *Failure)

// open opens a channel to a name.
func (r Route) open(ctx context.Context, name string, port int) (Stream, *Failure) {
	dialer, to, failure := r(name, port)
	if failure != nil {
		return nil, failure
	}
	return dialer.Dial(ctx, to)
}

// Connect connects a client to a target behind a host. It resets the client connection if that
// fails.
func (t *Tunnel) Connect(client ClientConn, to Address, dialer Dialer) {
	stream, failure := dialer.Dial(t.ctx, to)
	if failure != nil {
		if failure.Target {
			t.TargetFailed(dialer.Host, failure.Err)
		}
		Reset(client)
		return
	}
	t.TargetReached(dialer.Host)
	Relay(t.ctx, stream, client)
}
