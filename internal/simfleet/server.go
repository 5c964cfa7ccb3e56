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

// Server is a simulated host that is running. All its methods may be called at any time from any goroutine.
type Server struct {
	host     Host
	listener net.Listener
	disk     *disk
	stats    stats
	startups atomic.Int32 // connections that are logging in, if their number is limited
	// running counts the goroutine that accepts and those of the connections.
	running sync.WaitGroup

	mu sync.Mutex
	// mu protects
	closed  bool
	fault   Fault
	keys    []ssh.Signer
	config  *ssh.ServerConfig
	conns   map[*conn]struct{}
	nextPID int
	byPID   map[int]*Session
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
	s := &Server{host: h, listener: listener, disk: newDisk(h.DiskSize), fault: h.Fault, keys: keys, nextPID: 1000}
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

// newConn remembers a connection, or closes it and returns nil if the server is closed.
func (s *Server) newConn(raw *net.TCPConn) *conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		raw.Close()
		return nil
	}
	c := &conn{Conn: raw, raw: raw, server: s, fault: s.fault, config: s.config, done: make(chan struct{})}
	c.number = s.stats.opened()
	if s.fault.stopsReading() || hostileFaults[s.fault.Kind] != nil {
		raw.SetReadBuffer(smallBuffer)
		raw.SetWriteBuffer(smallBuffer) // floods are to be seen, and not to keep the machine busy
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

// Addr is where the host listens, as "127.0.0.1:2222".
func (s *Server) Addr() string { return s.listener.Addr().String() }

// Host is the address of the host without its port.
func (s *Server) Host() string { return s.listener.Addr().(*net.TCPAddr).IP.String() }

// Port is the port of the host.
func (s *Server) Port() int { return s.listener.Addr().(*net.TCPAddr).Port }

// Name is the name of the host in its simulated shell.
func (s *Server) Name() string { return s.host.Name }

// HostKeys are the public keys of the host.
func (s *Server) HostKeys() []ssh.PublicKey {
	s.mu.Lock()
	defer s.mu.Unlock()
	keys := make([]ssh.PublicKey, len(s.keys))
	for i, key := range s.keys {
		keys[i] = key.PublicKey()
	}
	return keys
}

// KnownHostsLine is what a known_hosts file needs to accept the host: one line for each of its keys, each with its
// newline. A host certificate becomes a line with the mark @cert-authority.
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

// SetHostKeys gives the host other keys; connections from now on see them. None means a new ed25519 key.
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

// SetFault changes what goes wrong, for connections from now on. The zero value heals the host.
func (s *Server) SetFault(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = f
}

// Stats is what happened so far.
func (s *Server) Stats() Stats { return s.stats.snapshot() }

// startup counts a connection that begins to log in, until begun is called; it is not ok if there are too many.
func (s *Server) startup() (begun func(), ok bool) {
	if s.host.MaxStartups == 0 {
		return func() {}, true
	}
	begun = sync.OnceFunc(func() { s.startups.Add(-1) })
	if s.startups.Add(1) > int32(s.host.MaxStartups) {
		begun()
		s.stats.change(func(st *Stats) { st.Dropped++ })
		return nil, false
	}
	return begun, true
}

// Drop cuts all connections as a crash does: they are reset. New ones are accepted.
func (s *Server) Drop() {
	for _, c := range s.connections() {
		c.reset()
	}
}

// Close stops listening, closes every connection, and waits until all goroutines have ended. It may be called twice.
func (s *Server) Close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
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

// addProcess gives a session its process number.
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

// process is the session whose process number is pid, or nil.
func (s *Server) process(pid int) *Session {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.byPID[pid]
}

// DialLoopback is a [Host.Dial] that reaches this machine only.
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
