package tunnel

import (
	"context"
	"fmt"
)

// Way opens channels to addresses behind one host.
type Way struct {
	Host fmt.Stringer // as it is logged
	Open func(ctx context.Context, to Address) (Stream, *Failure)
}

// Failure is why there is no channel to an address.
type Failure struct {
	Err   error
	Cause Cause

	// Target says that the host was reached and the address was not. [Tunnel.Connect] logs
	// that; [Gate] logs when the host cannot be reached.
	Target bool
}

// Cause is what the caller of a proxy is told about a [Failure].
type Cause int

// The causes.
const (
	Unreachable   Cause = iota // the host cannot be reached
	NoAnswer                   // the host does not answer in time
	NotAllowed                 // the proxy or the host forbids the address
	TargetRefuses              // nobody listens at the address
	HostRefuses                // the host refuses for another reason
)

// Route says by which host a proxy connects to a name, and to what there. The Cause of the
// failure is NotAllowed.
type Route func(name string, port int) (Way, Address, *Failure)

// open opens a channel to a name.
func (r Route) open(ctx context.Context, name string, port int) (Stream, *Failure) {
	way, to, failure := r(name, port)
	if failure != nil {
		return nil, failure
	}
	return way.Open(ctx, to)
}

// Connect connects a caller to an address behind a host, and resets the caller if it
// cannot.
func (t *Tunnel) Connect(caller Caller, to Address, way Way) {
	stream, failure := way.Open(t.ctx, to)
	if failure != nil {
		if failure.Target {
			t.Failed(way.Host, failure.Err)
		}
		Reset(caller)
		return
	}
	t.Worked(way.Host)
	Relay(t.ctx, stream, caller)
}
