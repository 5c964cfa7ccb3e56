package fleetssh

import (
	"net"
	"slices"

	"golang.org/x/crypto/ssh"
)

// Login says how a host was logged in to.
type Login struct {
	Host HostConfig

	// Addr is the address that was connected to: of the host, of the hop in
	// front of it, or of what stands in between.
	Addr net.Addr

	// Master is the socket of the OpenSSH master whose connection is used, empty
	// if it is our own. Nothing is known then of what follows, but Timing.
	Master string

	// HostKey is the key that the host has proved to have.
	HostKey ssh.PublicKey

	// Methods are the methods that the host has accepted, in their order:
	// usually one, "none" if it wanted no proof.
	Methods []string

	// Key is the key or certificate that was accepted, nil if none was.
	Key ssh.PublicKey

	// Banner is what the host wanted to be read before the login, and before its version
	// line: at most 4 KiB, made harmless, with line ends.
	Banner string

	// Timing is how long it took.
	Timing Timing

	// Warnings are what went less well than was asked for, such as a ticket that
	// could not be delegated.
	Warnings []string
}

// Logins returns how each host on the way was logged in to: the hops in their
// order, and then the host itself.
func (c *Client) Logins() []Login {
	var logins []Login
	for l, host := c.login, c.host; l != nil; l, host = l.Hop, host.Proxy {
		logins = append(logins, Login{
			Host: *host, Addr: l.Addr, Master: l.Master, HostKey: l.HostKey, Methods: l.Methods,
			Key: l.Key, Banner: l.Banner, Timing: timingOf(l.Timing), Warnings: l.Warnings,
		})
	}
	slices.Reverse(logins)
	return logins
}
