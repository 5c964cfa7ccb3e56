package fleetssh

import (
	"net"

	"fleetssh/internal/tunnel"
)

// Tunnel carries connections from where it listens to somewhere else. It works until
// Close; one of a [Client] ends with the client's connection too. Its methods may be
// called by many goroutines at once.
//
// Where a tunnel listens is written as "9100", ":9100" (on 127.0.0.1), "127.0.0.1:0"
// (any free port), "[::1]:8080", "*:9100" (on all addresses: nothing else makes that
// of it), or as the path of a socket: "/run/x.sock", or "unix:x.sock". Where it leads to is
// written in the same way; a port alone is one of localhost. Names are looked up on the side
// where the address is.
//
// A socket file here is for its owner alone (mode 0600) and removed by Close; one that
// is left from before and has no listener any more is replaced. A socket file on a host
// is of sshd's making: it stays when the tunnel ends, and sshd refuses to listen there again, unless
// its StreamLocalBindUnlink says otherwise.
//
// A tunnel carries 1024 connections at once. Further callers wait, and those of
// [Client.ForwardRemote] are refused. Both directions end on their own, as those of TCP do.
// A caller that does not read stops the one that sends to it, and nobody else; up to
// 2 MiB of what was sent to it are kept meanwhile. A connection
// that cannot be made, or breaks in the middle, ends with a reset, so that nobody takes
// what has come until then for the whole.
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
