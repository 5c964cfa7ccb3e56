package conn

import (
	"io"
	"net"
	"sync/atomic"

	"golang.org/x/crypto/ssh"
)

// What a command has written, and how it ended, may be kept long after its connection has
// gone. A channel of the SSH library keeps the whole connection alive, with all its buffers:
// 20 KiB. So both are released when they have ended, and these types stand in for them.

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

// Session is a channel of the SSH library until it is let go of; from then on its
// methods fail with io.EOF, as those of a closed channel do.
type Session struct {
	// Requests are those of the host. Whoever serves them may set it to nil: it takes 300
	// bytes, and a Session may be kept for long.
	Requests <-chan *ssh.Request

	at     atomic.Pointer[ssh.Channel]
	idleAt int // its place in the idle sessions of the connection
}

// NewSession returns one for a channel that has just been opened.
func NewSession(ch ssh.Channel, requests <-chan *ssh.Request) *Session {
	s := &Session{Requests: requests}
	s.at.Store(&ch)
	return s
}

// LetGo ends the use of the channel, and returns it; nil if that has been done before.
// Calls under way are not disturbed.
func (s *Session) LetGo() ssh.Channel {
	if ch := s.at.Swap(nil); ch != nil {
		return *ch
	}
	return nil
}

// Streams returns the two streams of output.
func (s *Session) Streams(c *Conn) (out, errOut io.Reader) {
	if ch := s.at.Load(); ch != nil {
		return c.Stream(*ch), c.Stream((*ch).Stderr())
	}
	return eof{}, eof{}
}

type eof struct{}

func (eof) Read([]byte) (int, error) { return 0, io.EOF }

// Write implements [ssh.Channel].
func (s *Session) Write(p []byte) (int, error) {
	if ch := s.at.Load(); ch != nil {
		return (*ch).Write(p)
	}
	return 0, io.EOF
}

// CloseWrite implements [ssh.Channel].
func (s *Session) CloseWrite() error {
	if ch := s.at.Load(); ch != nil {
		return (*ch).CloseWrite()
	}
	return io.EOF
}

// Close implements [ssh.Channel].
func (s *Session) Close() error {
	if ch := s.at.Load(); ch != nil {
		return (*ch).Close()
	}
	return io.EOF
}

// SendRequest implements [ssh.Channel].
func (s *Session) SendRequest(name string, wantReply bool, payload []byte) (bool, error) {
	if ch := s.at.Load(); ch != nil {
		return (*ch).SendRequest(name, wantReply, payload)
	}
	return false, io.EOF
}
