package conn

import (
	"io"
	"sync/atomic"

	"golang.org/x/crypto/ssh"
)

// Session is a session channel (RFC 4254, section 6) that can be released before the Session is:
// the result of a command may be kept long after its connection has ended, and a channel of the
// SSH library keeps the whole connection in memory. After Release, the methods fail with io.EOF,
// as on a closed channel.
type Session struct {
	// Requests are the requests of the host. Whoever serves them may set the field to nil: a
	// channel takes 300 bytes, and a Session may be kept for long.
	Requests <-chan *ssh.Request

	channel   atomic.Pointer[ssh.Channel]
	idleIndex int // in the idle sessions of the connection
}

// NewSession returns the session of a channel that has just been opened.
func NewSession(ch ssh.Channel, requests <-chan *ssh.Request) *Session {
	s := &Session{Requests: requests}
	s.channel.Store(&ch)
	return s
}

// Release ends the use of the channel and returns it, or nil if it has been released before.
// Calls under way go on.
func (s *Session) Release() ssh.Channel {
	if ch := s.channel.Swap(nil); ch != nil {
		return *ch
	}
	return nil
}

// Streams returns the readers for stdout and stderr, counted by c.
func (s *Session) Streams(c *Conn) (out, errOut io.Reader) {
	if ch := s.channel.Load(); ch != nil {
		return c.Stream(*ch), c.Stream((*ch).Stderr())
	}
	return eof{}, eof{}
}

type eof struct{}

func (eof) Read([]byte) (int, error) { return 0, io.EOF }

// Write implements [ssh.Channel].
func (s *Session) Write(p []byte) (int, error) {
	if ch := s.channel.Load(); ch != nil {
		return (*ch).Write(p)
	}
	return 0, io.EOF
}

// CloseWrite implements [ssh.Channel].
func (s *Session) CloseWrite() error {
	if ch := s.channel.Load(); ch != nil {
		return (*ch).CloseWrite()
	}
	return io.EOF
}

// Close implements [ssh.Channel].
func (s *Session) Close() error {
	if ch := s.channel.Load(); ch != nil {
		return (*ch).Close()
	}
	return io.EOF
}

// SendRequest implements [ssh.Channel].
func (s *Session) SendRequest(name string, wantReply bool, payload []byte) (bool, error) {
	if ch := s.channel.Load(); ch != nil {
		return (*ch).SendRequest(name, wantReply, payload)
	}
	return false, io.EOF
}
