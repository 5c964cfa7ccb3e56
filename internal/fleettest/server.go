package fleettest

import (
	"crypto/ed25519"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"golang.org/x/crypto/ssh"

	"fleetssh"
	"fleetssh/internal/simfleet"
)

// ClientKey returns the key that may log in to the simulated hosts. All tests of the process share
// it.
func ClientKey() ssh.Signer { return clientKey() }

var clientKey = sync.OnceValue(NewKey)

// NewKey makes an ED25519 key.
func NewKey() ssh.Signer {
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

// Server is a simulated host that ends with the test.
type Server struct {
	*simfleet.Server
	t testing.TB
}

// Config returns a configuration for the host, with a strict check of its key and a single attempt.
func (s Server) Config() fleetssh.HostConfig {
	s.t.Helper()
	return fleetssh.HostConfig{
		Host: s.Host(), Port: s.Port(), User: "alice",
		Auth:     fleetssh.Auth{Signers: []ssh.Signer{ClientKey()}},
		HostKeys: s.KnownHosts(), ConnectTimeout: Patience, Attempts: 1, RetryDelay: -1,
	}
}

// KnownHosts returns a strict policy with the host's keys.
func (s Server) KnownHosts() fleetssh.HostKeyPolicy {
	s.t.Helper()
	file := filepath.Join(s.t.TempDir(), "known_hosts")
	if err := os.WriteFile(file, []byte(s.KnownHostsLine()+"\n"), 0o600); err != nil {
		s.t.Fatal(err)
	}
	policy := &fleetssh.KnownHosts{Files: []string{file}}
	return policy
}

// Dial connects to the host. The connection is closed at the end of the test.
func (s Server) Dial(t testing.TB) *fleetssh.Client {
	t.Helper()
	c, err := fleetssh.Dial(t.Context(), s.Config())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// NewServer starts a host that ends with the test. change may adjust it before, and may be nil.
func NewServer(t testing.TB, change func(*simfleet.Host)) Server {
	t.Helper()
	h := simfleet.Host{AuthorizedKeys: []ssh.PublicKey{ClientKey().PublicKey()}}
	if change != nil {
		change(&h)
	}
	s, err := simfleet.Start(h)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return Server{s, t}
}

// Faulty starts a host with a fault.
func Faulty(t testing.TB, kind simfleet.FaultKind) Server {
	t.Helper()
	return NewServer(t, func(h *simfleet.Host) { h.Fault.Kind = kind })
}

// NewFleet returns a client for the hosts. It is closed at the end of the test.
func NewFleet(t testing.TB, hosts ...fleetssh.HostConfig) *fleetssh.ParallelClient {
	t.Helper()
	p := &fleetssh.ParallelClient{Hosts: hosts}
	t.Cleanup(func() { p.Close() })
	return p
}

// Simulated starts n hosts, each on its own address, and returns configurations for them. They end
// with the test. change may adjust each host before it starts, and may be nil.
func Simulated(t testing.TB, n int, change func(i int, h *simfleet.Host)) (*simfleet.Fleet, []fleetssh.HostConfig) {
	t.Helper()
	fleet, err := simfleet.StartFleet(n, 0, func(i int, h *simfleet.Host) {
		h.AuthorizedKeys = []ssh.PublicKey{ClientKey().PublicKey()}
		if change != nil {
			change(i, h)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { fleet.Close() })
	hosts := make([]fleetssh.HostConfig, n)
	for i, s := range fleet.Servers {
		hosts[i] = Server{s, t}.Config()
	}
	return fleet, hosts
}

// NewHop starts a host that other hosts can be reached through.
func NewHop(t testing.TB, change func(*simfleet.Host)) Server {
	t.Helper()
	return NewServer(t, func(h *simfleet.Host) {
		h.Dial = simfleet.DialLoopback
		if change != nil {
			change(h)
		}
	})
}

// Behind returns the configurations of hosts that are reached through a hop.
func Behind(hop *fleetssh.HostConfig, hosts ...fleetssh.HostConfig) []fleetssh.HostConfig {
	hosts = slices.Clone(hosts)
	for i := range hosts {
		hosts[i].Proxy = hop
	}
	return hosts
}
