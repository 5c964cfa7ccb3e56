package dial

import (
	"net"
	"time"

	"golang.org/x/crypto/ssh"

	"fleetssh/internal/conn"
)

// Login is a connection that is logged in, and how that went.
type Login struct {
	Conn *conn.Conn
	Hop  *Login // that the connection goes through; nil: through none

	Addr     net.Addr      // that was connected to
	Master   string        // the socket of the OpenSSH master; empty: the connection is our own
	HostKey  ssh.PublicKey // that the host has proved to have
	Methods  []string      // that the host has accepted, in their order
	Key      ssh.PublicKey // that was accepted; nil: none
	Banner   string        // harmless, with line ends
	Timing   Timing
	Warnings []string
}

// Timing is how long the phases of connecting took, zero for those not reached.
type Timing struct {
	Proxy, Resolve, Connect, Handshake, Auth time.Duration
	Attempts                                 int
}

// success returns how the login went that has just succeeded.
func (a *authenticator) success(addr net.Addr, hostKey ssh.PublicKey) *Login {
	a.verdict(a.partial + 1)
	a.warnTicket()
	if len(a.accepted) == 0 {
		a.accepted = []string{"none"}
	}
	return &Login{
		Addr: addr, HostKey: hostKey,
		Methods: a.accepted, Key: a.key, Banner: a.banner.end(), Warnings: a.warnings,
	}
}
