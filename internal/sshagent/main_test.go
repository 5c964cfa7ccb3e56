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

// patience is how long a test waits for what comes at once.
const patience = sshdtest.Patience

// standIn takes the place of an agent: it counts its connections and gives each to
// a function, behind which it is closed.
type standIn struct {
	path string
	made atomic.Int32 // connections until now
	open atomic.Int32 // of them

	serve    func(net.Conn)
	listener net.Listener
	mu       sync.Mutex // protects conns
	conns    map[net.Conn]bool
	wg       sync.WaitGroup
}

// newStandIn starts one that ends with the test.
func newStandIn(t testing.TB, serve func(net.Conn)) *standIn {
	t.Helper()
	dir, err := os.MkdirTemp("", "agent") // that of the test may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s := &standIn{path: filepath.Join(dir, "s"), serve: serve, conns: make(map[net.Conn]bool)}
	s.start(t)
	t.Cleanup(s.stop)
	return s
}

func (s *standIn) start(t testing.TB) {
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
func (s *standIn) stop() {
	s.listener.Close()
	s.mu.Lock()
	for conn := range s.conns {
		conn.Close()
	}
	s.mu.Unlock()
	s.wg.Wait()
}

// closed waits until no connection is open.
func (s *standIn) closed(t testing.TB) {
	t.Helper()
	sshdtest.Eventually(t, patience, "all connections to the agent are closed", func() bool { return s.open.Load() == 0 })
}

// silent reads what comes and says nothing.
func silent(conn net.Conn) { io.Copy(io.Discard, conn) }

// answers returns a server that reads requests and sends what answer returns, as it
// is, until more is false.
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

// packet returns a message behind its length.
func packet(message ...byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(message))), message...)
}

// newKeyring returns an agent that holds the keys.
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

// serving returns a server for the keys of an agent.
func serving(a agent.Agent) func(net.Conn) {
	return func(conn net.Conn) { agent.ServeAgent(a, conn) }
}

// fixedKey returns the same key every time.
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

// acquire returns the connection to a stand-in, which is given back at the end.
func acquire(t testing.TB, s *standIn) *Agent {
	t.Helper()
	var table Table
	a := table.Acquire(s.path)
	t.Cleanup(func() {
		table.Release(a)
		s.closed(t)
	})
	return a
}

// wantError expects an error, if not nil one that is want.
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

// TestMain silences the stand-ins: those of x/crypto log each refusal.
func TestMain(m *testing.M) {
	log.SetOutput(io.Discard)
	os.Exit(m.Run())
}
