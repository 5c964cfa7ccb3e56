package simfleet

import (
	"encoding/binary"
	"io"
	"net"

	"golang.org/x/crypto/ssh"
)

// stopsReading reports whether the host stops reading at some phase, as if it were frozen or the
// line were cut. A deaf host discards its input. A host that stops reading lets the client's writes
// fill the socket buffers until they block.
func (f Fault) stopsReading() bool { return f.Kind == StopReading || f.Kind == StopReadingTrickle }

// smallBuffer is the size of the socket buffers of such a host: the smaller they are, the sooner
// the client's writes block.
const smallBuffer = 4 << 10

// reached is called at each phase. If the fault begins at this phase, the host stops reading after
// as many bytes as the fault says, and reached returns true: the caller must not answer.
func (c *conn) reached(phase Phase) bool {
	if !c.fault.stopsReading() || c.fault.phase() != phase {
		return false
	}
	if phase != PhaseFile { // for which Bytes counts content of files
		c.left.Store(int64(c.fault.Bytes))
	}
	if !c.stopped.Swap(true) && c.fault.Kind == StopReadingTrickle {
		c.trickling.Go(func() { c.everyInterval(c.trickle) })
	}
	return true
}

// trickle sends one message that does not help the client.
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

// failsToRead carries out the faults of hosts that stop reading before the login, and reports
// whether there was one.
func (c *conn) failsToRead() bool {
	switch {
	case c.reached(PhaseVersion):
	case c.fault.phase() == PhaseKex && c.fault.stopsReading():
		io.WriteString(c.Conn, c.server.host.Version+"\r\n")
		// The header of a packet that never ends.
		c.Conn.Write(append(binary.BigEndian.AppendUint32(nil, 32<<10), 4, msgKexInit))
		c.reached(PhaseKex)
	default:
		return false
	}
	<-c.done
	return true
}

// stopAtLogin is the PreAuthConnCallback of a host that stops reading.
func (c *conn) stopAtLogin(login ssh.ServerPreAuthConn) {
	c.preAuth = login
	if c.reached(PhaseAuth) {
		<-c.done
	}
}

// readNoMore blocks until the connection ends.
func (c *conn) readNoMore() (int, error) {
	<-c.done
	return 0, net.ErrClosed
}
