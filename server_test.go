package fleetssh_test

import (
	"bytes"
	"crypto/ed25519"
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"fleetssh"
	"fleetssh/internal/simfleet"
)

// clientKey is the key that the simulated hosts of the tests let in.
var clientKey = sync.OnceValue(newKey)

func newKey() ssh.Signer {
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		panic(err)
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		panic(err)
	}
	return signer
}

// server is a simulated host that ends with the test.
type server struct {
	*simfleet.Server
	t testing.TB
}

// newServer starts a host; change may be nil.
func newServer(t testing.TB, change func(*simfleet.Host)) server {
	t.Helper()
	h := simfleet.Host{AuthorizedKeys: []ssh.PublicKey{clientKey().PublicKey()}}
	if change != nil {
		change(&h)
	}
	s, err := simfleet.Start(h)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return server{s, t}
}

// faulty starts a host with a fault.
func faulty(t testing.TB, kind simfleet.FaultKind) server {
	t.Helper()
	return newServer(t, func(h *simfleet.Host) { h.Fault.Kind = kind })
}

// config returns how to reach the host, with a strict check of its key and one
// quick attempt.
func (s server) config() fleetssh.HostConfig {
	s.t.Helper()
	return fleetssh.HostConfig{
		Host: s.Host(), Port: s.Port(), User: "alice",
		Auth:     fleetssh.Auth{Signers: []ssh.Signer{clientKey()}},
		HostKeys: s.knownHosts(), Attempts: 1, RetryDelay: -1,
	}
}

func (s server) knownHosts() fleetssh.HostKeyPolicy {
	s.t.Helper()
	file := filepath.Join(s.t.TempDir(), "known_hosts")
	if err := os.WriteFile(file, []byte(s.KnownHostsLine()+"\n"), 0o600); err != nil {
		s.t.Fatal(err)
	}
	policy, err := fleetssh.KnownHosts(file)
	if err != nil {
		s.t.Fatal(err)
	}
	return policy
}

// dial connects; the connection is closed with the test.
func (s server) dial(t testing.TB) *fleetssh.Client {
	t.Helper()
	c, err := fleetssh.Dial(t.Context(), s.config())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// newFleet returns a client for the hosts that is closed with the test.
func newFleet(t testing.TB, hosts ...fleetssh.HostConfig) *fleetssh.ParallelClient {
	t.Helper()
	p := &fleetssh.ParallelClient{Hosts: hosts}
	t.Cleanup(func() { p.Close() })
	return p
}

// text reads a stream to its end.
func text(t testing.TB, r io.Reader) string {
	t.Helper()
	var b bytes.Buffer
	if _, err := io.Copy(&b, r); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// eventually waits until ok returns true.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
		<-time.After(2 * time.Millisecond)
	}
}
