package fleetssh

import (
	"net"
	"slices"

	"golang.org/x/crypto/ssh"
)

// Login says how a host was logged in to.
type Login struct {
	Host HostConfig

	// Addr is the address that was connected to: the host's, that of the hop in front of it, or
	// that of a proxy.
	Addr net.Addr

	// Master is the socket of the OpenSSH master whose connection is used, empty if the
	// connection is our own. With a master, of the fields that follow only Timing is known.
	Master string

	// HostKey is the key that the host has proved to have.
	HostKey ssh.PublicKey

	// Methods are the methods that the host has accepted, in their order: usually one, "none"
	// if the host wanted no proof.
	Methods []string

	// Key is the key or certificate that was accepted, nil if none was.
	Key ssh.PublicKey

	// Banner is what the host wanted to be read before the login, and before its version
	// line: at most 4 KiB, made harmless, with line ends.
	Banner string

	// Timing is how long it took.
	Timing Timing

	// Warnings say what could not be done as asked for, such as delegating a ticket.
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
