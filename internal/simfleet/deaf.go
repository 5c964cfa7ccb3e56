package simfleet

import (
	"encoding/binary"
	"io"
	"net"

	"golang.org/x/crypto/ssh"
)

// stopsReading reports whether the host reads nothing more from a phase on, as a frozen one, or one behind a line that
// was cut. Unlike a deaf one, which takes what comes, it lets the client's writes fill up what systems keep.
func (f Fault) stopsReading() bool { return f.Kind == StopReading || f.Kind == StopReadingTrickle }

// smallBuffer is what the system keeps of what such a host does not read: the less, the sooner the client has to wait.
const smallBuffer = 4 << 10

// reached is called at each phase. If the fault begins with it, the host reads no more, after as many bytes as the fault
// says, and reached returns true: nothing is to be answered.
func (c *conn) reached(phase Phase) bool {
	if !c.fault.stopsReading() || c.fault.phase() != phase {
		return false
	}
	if phase != PhaseFile { // there Bytes are those of files
		c.left.Store(int64(c.fault.Bytes))
	}
	if !c.stopped.Swap(true) && c.fault.Kind == StopReadingTrickle {
		c.trickling.Go(func() { c.everyInterval(c.trickle) })
	}
	return true
}

// trickle sends a little that is of no use to anybody.
func (c *conn) trickle() error {
	switch c.fault.phase() {
	case PhaseVersion:
		_, err := io.WriteString(c.Conn, "wait\n") // lines before the version (RFC 4253, section 4.2)
		return err
	case PhaseKex:
		_, err := c.Conn.Write([]byte{0})
		return err
	case PhaseAuth:
		return c.preAuth.SendAuthBanner("wait\n")
	}
	_, _, err := c.ssh.SendRequest("trickle@simfleet", false, nil)
	return err
}

// failsToRead plays the faults before the login, and reports whether there was one.
func (c *conn) failsToRead() bool {
	switch {
	case c.reached(PhaseVersion):
	case c.fault.phase() == PhaseKex && c.fault.stopsReading():
		io.WriteString(c.Conn, c.server.host.Version+"\r\n")
		// The head of a packet that never comes to an end.
		c.Conn.Write(append(binary.BigEndian.AppendUint32(nil, 32<<10), 4, msgKexInit))
		c.reached(PhaseKex)
	default:
		return false
	}
	<-c.done
	return true
}

// stopAtLogin is the callback of x/crypto for the beginning of a login.
func (c *conn) stopAtLogin(login ssh.ServerPreAuthConn) {
	c.preAuth = login
	if c.reached(PhaseAuth) {
		<-c.done
	}
}

// readNoMore waits for the end of the connection.
func (c *conn) readNoMore() (int, error) {
	<-c.done
	return 0, net.ErrClosed
}
