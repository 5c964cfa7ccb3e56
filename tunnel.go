package fleetssh

import (
	"net"

	"fleetssh/internal/tunnel"
)

// Tunnel carries connections from the address it listens on to another. It works until Close; a
// tunnel of a [Client] also ends with the client's connection. Its methods may be called by
// many goroutines at once.
//
// The address to listen on is written as "9100" or ":9100" (on 127.0.0.1), "127.0.0.1:0" (any
// free port), "[::1]:8080", "*:9100" (on all addresses; nothing but "*" means them), or as the
// path of a socket: "/run/x.sock", or "unix:x.sock". The target of a tunnel is written in the
// same way; a port alone means localhost. The side that uses an address resolves its name.
//
// A socket file on this machine is accessible only to its owner (mode 0600), and Close removes
// it. A stale socket file, on which nobody listens, is replaced. A socket file on a host is
// created by sshd: it stays when the tunnel ends, and sshd refuses to listen there again unless
// its StreamLocalBindUnlink is set.
//
// A tunnel carries 1024 connections at once. Further clients of the tunnel wait;
// [Client.ForwardRemote] refuses them. Each direction of a connection ends by itself, as with
// TCP. A client that does not read blocks only its own sender; up to 2 MiB sent to it are kept
// meanwhile. A connection that cannot be made, or fails, ends with a reset, so that no client
// mistakes a part of the data for all of it.
type Tunnel struct{ engine *tunnel.Tunnel }

// Addr returns the address the tunnel listens on. If the port was to be any free one, it holds
// the port that was chosen.
func (t *Tunnel) Addr() net.Addr { return t.engine.Addr() }

// Wait waits until the tunnel has ended and returns the reason: nil after Close, a
// [*ConnectionError] when the connection to the host was lost, or the error that made it stop
// listening.
func (t *Tunnel) Wait() error { return t.engine.Wait() }

// Close stops listening and ends the open connections. It may be called more than once.
func (t *Tunnel) Close() error { return t.engine.Close() }

// TunnelEvent is a change in the state of a host's tunnels: see [ParallelClient.TunnelChanged].
type TunnelEvent struct {
	Kind TunnelEventKind
	Host HostConfig
	Err  error // nil for TunnelReconnected
}

// TunnelEventKind distinguishes the kinds of [TunnelEvent].
type TunnelEventKind int

// The kinds of event. Each is reported once until its opposite has happened, however many
// clients of the tunnels are affected: TunnelTargetFailed until a client reaches the target,
// the others until the host is connected again.
const (
	TunnelTargetFailed   TunnelEventKind = iota // the host cannot connect clients to the target
	TunnelConnectFailed                         // the host cannot be connected to
	TunnelConnectionLost                        // the connection to the host has failed
	TunnelReconnected                           // the host is connected again
)

var tunnelEventTexts = [...]string{"tunnel target unreachable", "tunnels have no connection", "tunnels have lost their connection", "connected again"}

// String says what has happened, such as "connected again".
func (k TunnelEventKind) String() string {
	if k < 0 || int(k) >= len(tunnelEventTexts) {
		return "unknown"
	}
	return tunnelEventTexts[k]
}

// tunnelEventKinds maps the events of package tunnel to the exported ones.
var tunnelEventKinds = map[tunnel.EventKind]TunnelEventKind{
	tunnel.TargetFailed:   TunnelTargetFailed,
	tunnel.ConnectFailed:  TunnelConnectFailed,
	tunnel.ConnectionLost: TunnelConnectionLost,
	tunnel.Reconnected:    TunnelReconnected,
}

// reportTunnel passes an event to TunnelChanged, or logs it if that is nil.
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
