package fleetssh

import (
	"net"

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

// loggedIn is what a client keeps of its [Login]: all but Host, which it need not copy.
type loggedIn struct {
	addr     net.Addr
	master   string
	hostKey  ssh.PublicKey
	methods  []string
	key      ssh.PublicKey
	banner   string
	timing   Timing
	warnings []string
}

// Logins returns how each host on the way was logged in to: the hops in their
// order, and then the host itself.
func (c *Client) Logins() []Login {
	l := &c.login
	login := Login{
		Host: *c.host, Addr: l.addr, Master: l.master, HostKey: l.hostKey, Methods: l.methods,
		Key: l.key, Banner: l.banner, Timing: l.timing, Warnings: l.warnings,
	}
	if c.hop == nil {
		return []Login{login}
	}
	return append(c.hop.Logins(), login)
}

// success returns how the login went that has just succeeded.
func (l *login) success(addr net.Addr, hostKey ssh.PublicKey) loggedIn {
	l.verdict(l.partial + 1)
	l.warnTicket()
	if len(l.accepted) == 0 {
		l.accepted = []string{"none"}
	}
	return loggedIn{
		addr: addr, hostKey: hostKey,
		methods: l.accepted, key: l.key, banner: l.banner.end(), warnings: l.warnings,
	}
}
