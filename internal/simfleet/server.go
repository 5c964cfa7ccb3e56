package simfleet

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/crypto/ssh"
)

// Server is a running simulated host. All its methods may be called at any time from any goroutine.
type Server struct {
	host     Host
	listener net.Listener
	disk     *disk
	stats    stats
	startups atomic.Int32 // connections that are logging in, if their number is limited
	// running counts the accepting goroutine and one goroutine per connection.
	running sync.WaitGroup
	context context.Context // ends with Close
	end     context.CancelFunc

	mu sync.Mutex
	// mu protects
	closed  bool
	bootID  string
	away    bool // new connections are reset
	fault   Fault
	keys    []ssh.Signer
	config  *ssh.ServerConfig
	conns   map[*conn]struct{}
	nextPID int
	byPID   map[int]*Session

	rebooting bool
}

// Start listens at h.Addr and serves on goroutines of its own until [Server.Close].
func Start(h Host) (*Server, error) {
	h = h.withDefaults()
	keys := h.HostKeys
	if len(keys) == 0 {
		key, err := newHostKey()
		if err != nil {
			return nil, fmt.Errorf("start %s: %w", h.Name, err)
		}
		keys = []ssh.Signer{key}
	}
	listener, err := net.Listen("tcp", h.Addr)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", h.Name, err)
	}
	s := &Server{host: h, listener: listener, disk: newDisk(h.DiskSize), fault: h.Fault, keys: keys, nextPID: 1000, bootID: newBootID()}
	s.context, s.end = context.WithCancel(context.Background())
	s.config = newConfig(&s.host, keys, &s.stats)
	s.running.Go(s.accept)
	return s, nil
}

func newHostKey() (ssh.Signer, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	return ssh.NewSignerFromKey(private)
}

// accept serves connections until the listener is closed.
func (s *Server) accept() {
	for {
		raw, err := s.listener.Accept()
		if err != nil {
			return
		}
		if c := s.newConn(raw.(*net.TCPConn)); c != nil {
			s.running.Go(func() {
				defer s.forget(c)
				c.serve()
			})
		}
	}
}

// newConn registers a connection, or closes it and returns nil if the server is closed.
func (s *Server) newConn(raw *net.TCPConn) *conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.away {
		s.stats.change(func(st *Stats) { st.TurnedAway++ })
		raw.SetLinger(0) // a reset, as from a machine where nobody listens
		raw.Close()
		return nil
	}
	c := &conn{Conn: raw, raw: raw, server: s, fault: s.fault, config: s.config, done: make(chan struct{})}
	c.number = s.stats.opened()
	if s.fault.stopsReading() || hostileFaults[s.fault.Kind] != nil {
		raw.SetReadBuffer(smallBuffer)
		raw.SetWriteBuffer(smallBuffer) // so that a flood does not keep the machine busy
	}
	if s.host.Latency > 0 {
		c.delayed = newDelayConn(raw, s.host.Latency/2)
		c.Conn = c.delayed
	}
	if s.conns == nil {
		s.conns = make(map[*conn]struct{})
	}
	s.conns[c] = struct{}{}
	return c
}

func (s *Server) forget(c *conn) {
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
	s.stats.change(func(st *Stats) { st.Open-- })
}

// Addr returns the address on which the host listens, as "127.0.0.1:2222".
func (s *Server) Addr() string { return s.listener.Addr().String() }

// Host returns the address of the host without its port.
func (s *Server) Host() string { return s.listener.Addr().(*net.TCPAddr).IP.String() }

// Port returns the port of the host.
func (s *Server) Port() int { return s.listener.Addr().(*net.TCPAddr).Port }

// Name returns the name of the host in its simulated shell.
func (s *Server) Name() string { return s.host.Name }

// HostKeys returns the public keys of the host.
func (s *Server) HostKeys() []ssh.PublicKey {
	s.mu.Lock()
	defer s.mu.Unlock()
	keys := make([]ssh.PublicKey, len(s.keys))
	for i, key := range s.keys {
		keys[i] = key.PublicKey()
	}
	return keys
}

// KnownHostsLine returns the lines of a known_hosts file that make a client accept the host: one
// line for each key, each with its newline. A host certificate becomes a line with the marker
// @cert-authority.
func (s *Server) KnownHostsLine() string {
	name := s.Host()
	if s.Port() != 22 {
		name = "[" + name + "]:" + strconv.Itoa(s.Port())
	}
	var lines strings.Builder
	for _, key := range s.HostKeys() {
		if certificate, ok := key.(*ssh.Certificate); ok {
			lines.WriteString("@cert-authority ")
			key = certificate.SignatureKey
		}
		fmt.Fprintf(&lines, "%s %s %s\n", name, key.Type(), base64.StdEncoding.EncodeToString(key.Marshal()))
	}
	return lines.String()
}

// SetHostKeys replaces the host keys for new connections. No keys mean one new ed25519 key.
func (s *Server) SetHostKeys(keys ...ssh.Signer) error {
	if len(keys) == 0 {
		key, err := newHostKey()
		if err != nil {
			return fmt.Errorf("new host key of %s: %w", s.host.Name, err)
		}
		keys = []ssh.Signer{key}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys = slices.Clone(keys)
	s.config = newConfig(&s.host, s.keys, &s.stats)
	return nil
}

// SetFault replaces the fault for new connections. The zero value makes the host work.
func (s *Server) SetFault(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = f
}

// Stats returns what has happened so far.
func (s *Server) Stats() Stats { return s.stats.snapshot() }

// startup counts a connection that is logging in until done is called. ok is false if MaxStartups
// connections are logging in already.
func (s *Server) startup() (done func(), ok bool) {
	if s.host.MaxStartups == 0 {
		return func() {}, true
	}
	done = sync.OnceFunc(func() { s.startups.Add(-1) })
	if s.startups.Add(1) > int32(s.host.MaxStartups) {
		done()
		s.stats.change(func(st *Stats) { st.Dropped++ })
		return nil, false
	}
	return done, true
}

// Drop resets all connections, as a crash does. New ones are accepted.
func (s *Server) Drop() {
	for _, c := range s.connections() {
		c.reset()
	}
}

// Close stops listening, closes all connections, and waits until all goroutines have ended. It may
// be called twice. It always returns nil.
func (s *Server) Close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.end()
	s.listener.Close()
	for _, c := range s.connections() {
		c.abort()
	}
	s.running.Wait()
	return nil
}

func (s *Server) connections() []*conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	conns := make([]*conn, 0, len(s.conns))
	for c := range s.conns {
		conns = append(conns, c)
	}
	return conns
}

// addProcess registers a session and returns its process ID.
func (s *Server) addProcess(session *Session) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.nextPID++
	if s.byPID == nil {
		s.byPID = make(map[int]*Session)
	}
	s.byPID[s.nextPID] = session
	return s.nextPID
}

func (s *Server) removeProcess(pid int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.byPID, pid)
}

// process returns the session with a process ID, or nil.
func (s *Server) process(pid int) *Session {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.byPID[pid]
}

// DialLoopback is a [Host.Dial] that connects to loopback addresses only.
func DialLoopback(ctx context.Context, network, addr string) (net.Conn, error) {
	name, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	if ip := net.ParseIP(name); name != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return nil, fmt.Errorf("dial %s: not a loopback address", addr)
	}
	var d net.Dialer
	return d.DialContext(ctx, network, addr)
}
