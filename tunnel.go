package fleetssh

import (
	"net"

	"fleetssh/internal/tunnel"
)

// Tunnel carries connections from where it listens to somewhere else. It works until
// Close; one of a [Client] ends with the client's connection too. Its methods may be
// called by many goroutines at once.
//
// Where a tunnel listens is written as "9100" or ":9100" (on 127.0.0.1), "127.0.0.1:0"
// (any free port), "[::1]:8080", "*:9100" (on all addresses, which only "*" means), or as
// the path of a socket: "/run/x.sock", or "unix:x.sock". The target of a tunnel is written
// in the same way; a port alone means localhost. Names are resolved on the side of the
// address.
//
// A socket file on this machine is accessible only to its owner (mode 0600), and Close
// removes it; a stale one, which nobody listens on, is replaced. A socket file on a host is
// created by sshd: it stays when the tunnel ends, and sshd refuses to listen there again
// unless its StreamLocalBindUnlink is set.
//
// A tunnel carries 1024 connections at once. Further callers wait, and those of
// [Client.ForwardRemote] are refused. Each direction of a connection ends by itself, as with
// TCP. A caller that does not read blocks only its own sender; up to 2 MiB sent to it are
// kept meanwhile. A connection that cannot be made, or fails, ends with a reset, so that no
// caller takes what it has received for the whole.
type Tunnel struct{ engine *tunnel.Tunnel }

// Addr returns the address the tunnel listens on, with the port that was chosen if it
// was to be any.
func (t *Tunnel) Addr() net.Addr { return t.engine.Addr() }

// Wait waits until the tunnel has ended and says why: nil after Close, a
// [*ConnectionError] when the connection to the host was lost, or what kept it from
// listening on.
func (t *Tunnel) Wait() error { return t.engine.Wait() }

// Close stops listening and ends the connections under way. It may be called more than
// once.
func (t *Tunnel) Close() error { return t.engine.Close() }

// TunnelEvent is a change that concerns the tunnels of a host: see [ParallelClient.TunnelChanged].
type TunnelEvent struct {
	Kind TunnelEventKind
	Host HostConfig
	Err  error // nil for TunnelReconnected
}

// TunnelEventKind distinguishes the kinds of [TunnelEvent].
type TunnelEventKind int

// The kinds of event. Each is told once until its opposite has happened, however many callers
// meet it: TunnelTargetFailed until a caller reaches the target, the others until the host is
// connected again.
const (
	TunnelTargetFailed   TunnelEventKind = iota // the host cannot connect callers to the target
	TunnelConnectFailed                         // the host cannot be connected to
	TunnelConnectionLost                        // the connection to the host has failed
	TunnelReconnected                           // the host is connected again
)

var tunnelEventTexts = [...]string{"tunnel leads nowhere", "tunnels have no connection", "tunnels have lost their connection", "connected again"}

// String says what has happened, such as "connected again".
func (k TunnelEventKind) String() string {
	if k < 0 || int(k) >= len(tunnelEventTexts) {
		return "unknown"
	}
	return tunnelEventTexts[k]
}

// tunnelEventKinds are the kinds of event as users see them.
var tunnelEventKinds = map[tunnel.EventKind]TunnelEventKind{
	tunnel.TargetFailed:   TunnelTargetFailed,
	tunnel.ConnectFailed:  TunnelConnectFailed,
	tunnel.ConnectionLost: TunnelConnectionLost,
	tunnel.Reconnected:    TunnelReconnected,
}

// reportTunnel tells an event to TunnelChanged, or logs it if nobody wants to be told.
func (d *dialer) reportTunnel(e tunnel.Event) {
	event := TunnelEvent{Kind: tunnelEventKinds[e.Kind], Host: e.Host.(HostConfig), Err: e.Err}
	switch {
	case d.tunnelChanged != nil:
		d.tunnelChanged(event)
	case event.Err == nil:
		d.log.Info(event.Kind.String(), "host", event.Host)
	default:
		d.log.Warn(event.Kind.String(), "host", event.Host, "error", event.Err)
	}
}
