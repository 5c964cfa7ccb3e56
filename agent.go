package fleetssh

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

const (
	// agentInFlight is how many requests the agent has to deal with at once.
	// OpenSSH's answers one after another anyway.
	agentInFlight = 16
	// agentListAge is how long the list of its keys is taken for current, so
	// that thousands of logins ask for it once.
	agentListAge = 5 * time.Second
	// agentListTimeout is how long it may take to list them. A signature may
	// take as long as the login: a user may have to touch a key for it.
	agentListTimeout = 5 * time.Second
)

// agents holds the connections of the process to SSH agents, one to a socket:
// an agent serves one user, and a connection for each of thousands of hosts would
// take all of its descriptors. See docs/adr/0005-one-agent-connection.md.
var agents = agentTable{open: make(map[string]*agentConn)}

type agentTable struct {
	mu   sync.Mutex // protects open and agentConn.users
	open map[string]*agentConn
}

// agentConn is a shared connection to an agent. It is made when it is first
// needed, made again when it breaks, and closed with its last user.
type agentConn struct {
	path  string
	users int
	slots chan struct{}

	listing chan struct{} // holds a token while the list is fetched: the others wait
	list    []*agent.Key  // what follows is protected by the token
	listErr error
	listed  time.Time

	mu     sync.Mutex // protects what follows
	conn   net.Conn
	client agent.ExtendedAgent
	closed bool
	wg     sync.WaitGroup
}

// acquire returns the connection to the agent that SSH_AUTH_SOCK names, nil if it
// names none. It is given back with release.
func (t *agentTable) acquire() *agentConn {
	path := os.Getenv("SSH_AUTH_SOCK")
	if path == "" {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	a := t.open[path]
	if a == nil {
		a = &agentConn{path: path, slots: make(chan struct{}, agentInFlight), listing: make(chan struct{}, 1)}
		t.open[path] = a
	}
	a.users++
	return a
}

// release closes the connection if nobody else uses it.
func (t *agentTable) release(a *agentConn) {
	if a == nil {
		return
	}
	t.mu.Lock()
	a.users--
	last := a.users == 0
	if last {
		delete(t.open, a.path)
	}
	t.mu.Unlock()
	if !last {
		return
	}
	a.mu.Lock()
	a.closed = true
	if a.conn != nil {
		a.conn.Close()
	}
	a.mu.Unlock()
	a.wg.Wait()
}

// keys returns the keys that the agent holds.
func (a *agentConn) keys(ctx context.Context) ([]*agent.Key, error) {
	select {
	case a.listing <- struct{}{}:
		defer func() { <-a.listing }()
	case <-ctx.Done():
		return nil, fmt.Errorf("SSH agent: %w", causeOf(ctx))
	}
	if !a.listed.IsZero() && time.Since(a.listed) < agentListAge {
		return a.list, a.listErr
	}
	limited, cancel := context.WithTimeout(ctx, agentListTimeout)
	defer cancel()
	answer := make(chan []*agent.Key, 1) // the request may outlive this call
	err := a.do(limited, func(client agent.ExtendedAgent) error {
		list, err := client.List()
		if err == nil {
			answer <- list
		}
		return err
	})
	if ctx.Err() != nil {
		return nil, err // says nothing about the agent
	}
	var list []*agent.Key
	if err == nil {
		list = <-answer
	} else if limited.Err() != nil && len(a.list) > 0 {
		// Busy with signing: it may wait for a user to touch a key.
		list, err = a.list, nil
	}
	a.list, a.listErr, a.listed = list, err, time.Now()
	return list, err
}

// do makes one request, over a new connection if the old one has broken. When ctx
// ends first, the request is left to end with the connection.
func (a *agentConn) do(ctx context.Context, request func(agent.ExtendedAgent) error) error {
	select {
	case a.slots <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("SSH agent: %w", causeOf(ctx))
	}
	result := make(chan error, 1)
	run := func() {
		defer func() { <-a.slots }()
		client, err := a.connect()
		if err == nil {
			if err = request(client); errors.Is(err, net.ErrClosed) || a.broken(client) {
				if client, err = a.connect(); err == nil {
					err = request(client)
				}
			}
		}
		result <- err
	}
	a.mu.Lock()
	if a.closed {
		a.mu.Unlock()
		<-a.slots
		return errors.New("SSH agent: connection closed")
	}
	a.wg.Go(run)
	a.mu.Unlock()
	select {
	case err := <-result:
		if err != nil {
			return fmt.Errorf("SSH agent: %w", err)
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("SSH agent: %w", causeOf(ctx))
	}
}

// connect returns the connection, a new one if need be.
func (a *agentConn) connect() (agent.ExtendedAgent, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.client != nil {
		return a.client, nil
	}
	if a.closed {
		return nil, net.ErrClosed
	}
	conn, err := net.DialTimeout("unix", a.path, 5*time.Second)
	if err != nil {
		return nil, err
	}
	w := newWire(conn, new(atomic.Int32))
	a.conn, a.client = w, agent.NewClient(w)
	return a.client, nil
}

// broken reports whether the connection behind client has failed, and forgets it
// then, so that the next connect makes a new one.
func (a *agentConn) broken(client agent.ExtendedAgent) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.client != client {
		return true // somebody else has seen it already
	}
	if w, ok := a.conn.(*wire); !ok || !w.broken.Load() || a.closed {
		return false
	}
	a.conn.Close()
	a.conn, a.client = nil, nil
	return true
}

// agentSigner is a key of the agent, for the logins to one host.
type agentSigner struct {
	ctx   func() context.Context // of the login that is under way
	agent *agentConn
	key   ssh.PublicKey
}

func (s *agentSigner) PublicKey() ssh.PublicKey { return s.key }

func (s *agentSigner) Sign(rand io.Reader, data []byte) (*ssh.Signature, error) {
	return s.SignWithAlgorithm(rand, data, s.Algorithms()[0])
}

// SignWithAlgorithm implements [ssh.AlgorithmSigner].
func (s *agentSigner) SignWithAlgorithm(_ io.Reader, data []byte, algorithm string) (*ssh.Signature, error) {
	var flags agent.SignatureFlags
	switch algorithm {
	case ssh.KeyAlgoRSASHA256:
		flags = agent.SignatureFlagRsaSha256
	case ssh.KeyAlgoRSASHA512:
		flags = agent.SignatureFlagRsaSha512
	}
	var sig *ssh.Signature
	err := s.agent.do(s.ctx(), func(client agent.ExtendedAgent) (err error) {
		sig, err = client.SignWithFlags(s.key, data, flags)
		return err
	})
	if err != nil {
		return nil, err
	}
	return sig, nil
}

// Algorithms implements [ssh.MultiAlgorithmSigner].
func (s *agentSigner) Algorithms() []string { return signatureAlgorithms(s.key) }
