package fleetssh

import (
	"io"
	"net"
	"sync/atomic"

	"golang.org/x/crypto/ssh"
)

// What a command has written, and how it ended, may be kept long after its
// connection has gone. A channel of the SSH library holds the whole connection,
// with all its buffers: 20 KiB. So both are let go of when they have ended, and
// what follows stands in for them.

// endedConn stands in for a connection that has gone.
type endedConn struct {
	user                    string
	session, client, server []byte
	local, remote           net.Addr
}

func newEndedConn(c ssh.Conn) *endedConn {
	return &endedConn{c.User(), c.SessionID(), c.ClientVersion(), c.ServerVersion(), c.LocalAddr(), c.RemoteAddr()}
}

func (c *endedConn) User() string          { return c.user }
func (c *endedConn) SessionID() []byte     { return c.session }
func (c *endedConn) ClientVersion() []byte { return c.client }
func (c *endedConn) ServerVersion() []byte { return c.server }
func (c *endedConn) RemoteAddr() net.Addr  { return c.remote }
func (c *endedConn) LocalAddr() net.Addr   { return c.local }
func (c *endedConn) Close() error          { return net.ErrClosed }
func (c *endedConn) Wait() error           { return io.EOF }

func (c *endedConn) SendRequest(string, bool, []byte) (bool, []byte, error) {
	return false, nil, io.EOF
}

func (c *endedConn) OpenChannel(string, []byte) (ssh.Channel, <-chan *ssh.Request, error) {
	return nil, nil, io.EOF
}

// session is a channel of the SSH library until it is let go of; from then on its
// methods fail with io.EOF, as those of a closed channel do.
type session struct{ at atomic.Pointer[ssh.Channel] }

func newSession(ch ssh.Channel) *session {
	s := new(session)
	s.at.Store(&ch)
	return s
}

// letGo ends the use of the channel, and returns it; nil if that has been done before.
// Calls under way are not disturbed.
func (s *session) letGo() ssh.Channel {
	if ch := s.at.Swap(nil); ch != nil {
		return *ch
	}
	return nil
}

// streams returns the two streams of output.
func (s *session) streams(w *flow) (out, errOut io.Reader) {
	if ch := s.at.Load(); ch != nil {
		return w.stream(*ch), w.stream((*ch).Stderr())
	}
	return eof{}, eof{}
}

type eof struct{}

func (eof) Read([]byte) (int, error) { return 0, io.EOF }

func (s *session) Write(p []byte) (int, error) {
	if ch := s.at.Load(); ch != nil {
		return (*ch).Write(p)
	}
	return 0, io.EOF
}

func (s *session) CloseWrite() error {
	if ch := s.at.Load(); ch != nil {
		return (*ch).CloseWrite()
	}
	return io.EOF
}

func (s *session) Close() error {
	if ch := s.at.Load(); ch != nil {
		return (*ch).Close()
	}
	return io.EOF
}

func (s *session) SendRequest(name string, wantReply bool, payload []byte) (bool, error) {
	if ch := s.at.Load(); ch != nil {
		return (*ch).SendRequest(name, wantReply, payload)
	}
	return false, io.EOF
}
