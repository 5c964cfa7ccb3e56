package sshagent

import (
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"io"
	"log"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"fleetssh/internal/sshdtest"
)

// patience limits how long a test waits for something that should happen at once.
const patience = sshdtest.Patience

// fakeAgent is a server in place of an agent. It calls a function for each connection and counts
// the connections.
type fakeAgent struct {
	path string
	made atomic.Int32 // connections so far
	open atomic.Int32 // connections that are open

	serve    func(net.Conn)
	listener net.Listener
	mu       sync.Mutex // protects conns
	conns    map[net.Conn]bool
	wg       sync.WaitGroup
}

// newFakeAgent starts a fakeAgent that ends with the test.
func newFakeAgent(t testing.TB, serve func(net.Conn)) *fakeAgent {
	t.Helper()
	dir, err := os.MkdirTemp("", "agent") // the path of t.TempDir may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s := &fakeAgent{path: filepath.Join(dir, "s"), serve: serve, conns: make(map[net.Conn]bool)}
	s.start(t)
	t.Cleanup(s.stop)
	return s
}

func (s *fakeAgent) start(t testing.TB) {
	t.Helper()
	listener, err := net.Listen("unix", s.path)
	if err != nil {
		t.Fatal(err)
	}
	s.listener = listener
	s.wg.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			s.made.Add(1)
			s.open.Add(1)
			s.mu.Lock()
			s.conns[conn] = true
			s.mu.Unlock()
			s.wg.Go(func() {
				defer s.open.Add(-1)
				s.serve(conn)
				conn.Close()
				s.mu.Lock()
				delete(s.conns, conn)
				s.mu.Unlock()
			})
		}
	})
}

// stop closes the socket and all connections.
func (s *fakeAgent) stop() {
	s.listener.Close()
	s.mu.Lock()
	for conn := range s.conns {
		conn.Close()
	}
	s.mu.Unlock()
	s.wg.Wait()
}

// closed waits until no connection is open.
func (s *fakeAgent) closed(t testing.TB) {
	t.Helper()
	sshdtest.Eventually(t, patience, "all connections to the agent are closed", func() bool { return s.open.Load() == 0 })
}

// silent reads requests and does not answer.
func silent(conn net.Conn) { io.Copy(io.Discard, conn) }

// answers returns a function that reads requests and writes the bytes that answer returns, until
// more is false.
func answers(answer func(request []byte) (packet []byte, more bool)) func(net.Conn) {
	return func(conn net.Conn) {
		for {
			request, err := readMessage(conn)
			if err != nil {
				return
			}
			packet, more := answer(request)
			if _, err := conn.Write(packet); err != nil || !more {
				return
			}
		}
	}
}

// packet returns a message with its length in front.
func packet(message ...byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(message))), message...)
}

// newKeyring returns an agent with keys.
func newKeyring(t testing.TB, keys ...any) agent.ExtendedAgent {
	t.Helper()
	ring := agent.NewKeyring()
	for _, key := range keys {
		if err := ring.Add(agent.AddedKey{PrivateKey: key, Comment: "test"}); err != nil {
			t.Fatal(err)
		}
	}
	return ring.(agent.ExtendedAgent)
}

// serving returns a function that serves the keys of an agent.
func serving(a agent.Agent) func(net.Conn) {
	return func(conn net.Conn) { agent.ServeAgent(a, conn) }
}

// fixedKey returns the same key on every call.
func fixedKey(t testing.TB) ed25519.PrivateKey {
	t.Helper()
	return ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
}

func public(t testing.TB, key any) ssh.PublicKey {
	t.Helper()
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return signer.PublicKey()
}

// acquire returns the Agent for a fakeAgent, and releases it after the test.
func acquire(t testing.TB, s *fakeAgent) *Agent {
	t.Helper()
	var table Table
	a := table.Acquire(s.path)
	t.Cleanup(func() {
		table.Release(a)
		s.closed(t)
	})
	return a
}

// wantError checks that there is an error, and that it is want if that is not nil.
func wantError(t testing.TB, err, want error) {
	t.Helper()
	if err == nil || want != nil && !errors.Is(err, want) {
		t.Errorf("error %v, want %v", err, want)
	}
}

// identities returns SSH_AGENT_IDENTITIES_ANSWER for keys.
func identities(keys []*agent.Key) []byte {
	answer := binary.BigEndian.AppendUint32([]byte{12}, uint32(len(keys)))
	for _, k := range keys {
		answer = append(answer, packet(k.Blob...)...)
		answer = append(answer, packet([]byte(k.Comment)...)...)
	}
	return answer
}

// TestMain discards the log: the agent server of x/crypto logs each refusal.
func TestMain(m *testing.M) {
	log.SetOutput(io.Discard)
	os.Exit(m.Run())
}
