package simfleet

import (
	"bytes"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"
)

// conn is one accepted connection. The embedded Conn is raw, or the delayed connection over it.
type conn struct {
	net.Conn
	raw     *net.TCPConn
	delayed *delayConn // nil without latency
	server  *Server
	fault   Fault
	config  *ssh.ServerConfig
	number  int // of connections that the host had before this one

	done        chan struct{} // closed when the connection is gone
	gone        sync.Once
	deaf        atomic.Bool  // input is discarded
	mute        atomic.Bool  // nothing is written any more
	versionSent bool         // the version line is written; until then only the handshake's goroutine writes
	written     atomic.Int64 // bytes of output, for CutAfter
	copied      atomic.Int64 // bytes of files, for faults such as DiskFull

	stopped   atomic.Bool           // the host reads no more than left
	left      atomic.Int64          // bytes that the host still reads
	trickling sync.WaitGroup        // what the host still sends after it stopped reading
	preAuth   ssh.ServerPreAuthConn // during the login
	ssh       *ssh.ServerConn       // after the login
}

// serve speaks SSH until the connection ends, and waits for all goroutines it started.
func (c *conn) serve() {
	if c.delayed != nil {
		defer c.delayed.wait()
	}
	defer c.trickling.Wait()
	defer c.Close()
	done, ok := c.server.startup()
	if !ok {
		return
	}
	defer done()
	if c.fails() || c.failsToRead() {
		return
	}
	if misbehave := hostileFaults[c.fault.Kind]; misbehave != nil {
		c.serveHostile(misbehave)
		return
	}
	config := c.config
	switch {
	case c.fault.Kind == StallAuth:
		stalled := *config
		stalled.PreAuthConnCallback = func(ssh.ServerPreAuthConn) { <-c.done }
		config = &stalled
	case c.fault.stopsReading():
		stopping := *config
		stopping.PreAuthConnCallback = c.stopAtLogin
		config = &stopping
	}
	if signIn := c.server.host.SignIn; signIn != nil {
		own := *config
		own.NoClientAuth = true
		own.NoClientAuthCallback = func(meta ssh.ConnMetadata) (*ssh.Permissions, error) {
			if !signIn(meta.User(), c.done) {
				return nil, errDenied
			}
			return nil, nil
		}
		config = &own
	}
	if kind := c.fault.Kind; kind == StallPassword || kind == CutPassword {
		hostile := *config
		hostile.PasswordCallback = func(ssh.ConnMetadata, []byte) (*ssh.Permissions, error) {
			c.server.stats.authFailure("password")
			if kind == CutPassword {
				c.reset()
			}
			<-c.done
			return nil, errDenied
		}
		hostile.AuthLogCallback = nil // the PasswordCallback counts
		config = &hostile
	}
	sc, channels, requests, err := ssh.NewServerConn(c, config)
	done()
	if err != nil {
		return
	}
	defer sc.Wait()
	defer sc.Close()
	c.server.stats.change(func(st *Stats) { st.Logins++ })
	c.ssh = sc
	c.reached(PhaseLogin)
	c.serveChannels(sc, channels, requests)
}

// fails carries out the faults before the key exchange, and reports whether there was one.
func (c *conn) fails() bool {
	if c.number < c.server.host.DropFirst {
		return true
	}
	switch c.fault.Kind {
	case ResetAccept:
		c.reset()
	case SilentAccept:
		io.Copy(io.Discard, c)
	case GarbageVersion:
		io.WriteString(c, "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
	case LongVersion:
		line := bytes.Repeat([]byte("SSH-2.0-"), 4096)
		for {
			if _, err := c.Write(line); err != nil {
				break
			}
		}
	case StallKex:
		io.WriteString(c, c.server.host.Version+"\r\n")
		io.Copy(io.Discard, c)
	default:
		return false
	}
	return true
}

// serveChannels answers the client's requests until the connection ends, and waits for its sessions
// and tunnels.
func (c *conn) serveChannels(sc *ssh.ServerConn, channels <-chan ssh.NewChannel, requests <-chan *ssh.Request) {
	var (
		running sync.WaitGroup
		open    atomic.Int64
	)
	defer running.Wait()
	for channels != nil || requests != nil {
		select {
		case request, ok := <-requests:
			if !ok {
				requests = nil
				continue
			}
			c.server.stats.change(func(st *Stats) { st.GlobalReqs++ })
			if request.Type == "tcpip-forward" && c.server.host.Listen != nil {
				running.Go(func() { c.listen(sc, request) })
				continue
			}
			if c.fault.Kind != NoKeepAliveReply {
				// sshd refuses unknown requests, keepalive@openssh.com included. For a client, the
				// refusal is the sign of life.
				request.Reply(false, nil)
			}
		case channel, ok := <-channels:
			switch {
			case !ok:
				channels = nil
			case c.fault.Kind == StallOpen || c.reached(PhaseOpen):
			case c.fault.Kind == RefuseOpen:
				channel.Reject(c.fault.reason(), "refused by simfleet")
			case channel.ChannelType() == "direct-tcpip":
				running.Go(func() { c.serveTunnel(channel) })
			case channel.ChannelType() != "session":
				channel.Reject(ssh.UnknownChannelType, "unknown channel type")
			case open.Load() >= int64(c.server.host.MaxSessions):
				channel.Reject(ssh.ConnectionFailed, "open failed") // as sshd beyond MaxSessions
			default:
				open.Add(1)
				running.Go(func() {
					defer open.Add(-1)
					c.serveSession(sc, channel)
				})
			}
		}
	}
}

func (c *conn) Read(p []byte) (int, error) {
	if c.stopped.Load() && c.left.Load() <= 0 {
		return c.readNoMore()
	}
	n, err := c.Conn.Read(p)
	for err == nil && c.deaf.Load() {
		n, err = c.Conn.Read(p)
	}
	if err == nil && c.stopped.Load() && c.left.Add(int64(-n)) < 0 {
		return c.readNoMore()
	}
	if err != nil {
		c.markGone()
	}
	return n, err
}

func (c *conn) Write(p []byte) (int, error) {
	if c.mute.Load() {
		<-c.done
		return 0, net.ErrClosed
	}
	if c.fault.Kind == DripVersion && !c.versionSent {
		c.versionSent = true
		return drip(c.Conn, p, c.fault.interval(), c.done)
	}
	return c.Conn.Write(p)
}

// Close ends the connection after everything written has been delivered.
func (c *conn) Close() error {
	c.markGone()
	return c.Conn.Close()
}

// abort ends the connection at once.
func (c *conn) abort() {
	c.markGone()
	if c.delayed != nil {
		c.delayed.abort()
	}
	c.raw.Close()
}

// reset ends the connection at once. The client sees a reset instead of an end of file.
func (c *conn) reset() {
	c.raw.SetLinger(0)
	c.abort()
}

func (c *conn) markGone() { c.gone.Do(func() { close(c.done) }) }

// drip writes p one byte per interval until done is closed.
func drip(w io.Writer, p []byte, interval time.Duration, done <-chan struct{}) (int, error) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for i := range p {
		if _, err := w.Write(p[i : i+1]); err != nil {
			return i, err
		}
		select {
		case <-ticker.C:
		case <-done:
			return i + 1, net.ErrClosed
		}
	}
	return len(p), nil
}
