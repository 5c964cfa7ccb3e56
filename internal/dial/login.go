package dial

import (
	"net"
	"time"

	"golang.org/x/crypto/ssh"

	"fleetssh/internal/conn"
)

// Login is a connection after the login, with a description of the login.
type Login struct {
	Conn *conn.Conn
	Hop  *Login // the hop of the connection; or nil

	Addr    net.Addr      // the remote end of the transport: the host, its first hop, or a proxy
	Master  string        // the socket of the OpenSSH master; empty: no master is used
	HostKey ssh.PublicKey // the key by which the host authenticated itself
	Methods []string      // the methods that the host accepted, in order
	Allowed []string      // the methods that it allowed at first; empty: it required none
	Key     ssh.PublicKey // the client key that the host accepted; or nil
	Banner  string        // sanitized, with line ends
	Version string        // the version line of the host, sanitized

	Algorithms ssh.NegotiatedAlgorithms
	Offered    conn.Offer

	Timing   Timing
	Warnings []string
}

// Timing says how long each phase of connecting took. Phases that were not reached are zero.
type Timing struct {
	Proxy, Resolve, Connect, Handshake, Auth time.Duration
	Attempts                                 int
}

// success returns the description of a login that has just succeeded.
func (a *authenticator) success(addr net.Addr, hostKey ssh.PublicKey) *Login {
	if a.last != nil {
		a.d.debug("accepted", a.host, "method", a.tried[len(a.tried)-1])
	}
	a.verdict(a.partial + 1)
	a.warnTicket()
	if len(a.accepted) == 0 {
		a.accepted = []string{"none"}
	}
	return &Login{
		Addr: addr, HostKey: hostKey,
		Methods: a.accepted, Allowed: a.allowed, Key: a.key, Banner: a.banner.end(), Warnings: a.warnings,
	}
}
