package tunnel

import "fmt"

// Event is a change that tunnels report: to a function that is called on any goroutine, calls may
// overlap, and which must return soon.
type Event struct {
	Kind EventKind
	Host fmt.Stringer
	Err  error // nil for Reconnected
}

// EventKind distinguishes the kinds of [Event].
type EventKind int

// The kinds of event. A host reports each at most once until its opposite has happened.
const (
	TargetFailed   EventKind = iota // the host, or this machine for a listener on the host, cannot connect to the target
	ConnectFailed                   // the host cannot be connected to
	ConnectionLost                  // the connection to the host is lost
	Reconnected                     // the host is connected again, after ConnectFailed or ConnectionLost
)
