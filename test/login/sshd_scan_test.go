package login

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"fleetssh"
	"fleetssh/internal/fleettest"
	"fleetssh/internal/simfleet"
	"fleetssh/internal/sshdtest"
)

// scan returns the host keys of the hosts, in the order of the hosts.
func scan(t testing.TB, hosts ...fleetssh.HostConfig) []fleetssh.ShownKeys {
	t.Helper()
	shown, err := fleettest.NewFleet(t, hosts...).ScanHostKeys(fleettest.Soon(t))
	if err != nil {
		t.Fatal(err)
	}
	return slices.SortedFunc(shown, func(a, b fleetssh.ShownKeys) int { return a.Index - b.Index })
}

// addressOnly returns a host configuration without credentials and without a host key policy.
func addressOnly(s *sshdtest.Server) fleetssh.HostConfig {
	return fleetssh.HostConfig{Host: s.Host, Port: s.Port, User: "nobody-at-all", ConnectTimeout: fleettest.Patience, RetryDelay: -1}
}

// expectKeys expects that a host has shown exactly these keys.
func expectKeys(t testing.TB, got fleetssh.ShownKeys, want ...ssh.PublicKey) {
	t.Helper()
	if got.Err != nil {
		t.Errorf("host %d: %v", got.Index, got.Err)
	}
	text := func(keys []ssh.PublicKey) (text string) {
		for _, key := range keys {
			text += key.Type() + " " + ssh.FingerprintSHA256(key) + "\n"
		}
		return text
	}
	fleettest.Equal(t, fmt.Sprintf("keys of host %d", got.Index), text(got.Keys), text(want))
}

func TestSSHDScan(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	all, rsa := sshdtest.Start(t, sshdtest.Options{}), sshdtest.Start(t, sshdtest.Options{HostKeys: []string{sshdtest.KindRSA}})
	ca := sshdtest.NewCA(t)
	certified := sshdtest.Start(t, sshdtest.Options{HostCA: ca, HostPrincipals: []string{"127.0.0.1"}})
	sha1 := sshdtest.Start(t, sshdtest.Options{HostKeys: []string{sshdtest.KindRSA}, Config: []string{"HostKeyAlgorithms ssh-rsa"}})
	weak := addressOnly(sha1)
	weak.Algorithms = &fleetssh.Algorithms{HostKeys: []string{"rsa-sha2-256", "ssh-rsa"}}
	alias := addressOnly(all)
	alias.HostKeyAlias = "web"

	shown := scan(t, addressOnly(all), addressOnly(rsa), addressOnly(certified), addressOnly(sha1), weak, alias)
	keys := func(s *sshdtest.Server) []ssh.PublicKey {
		return fleettest.KeysOf(s, sshdtest.KindED25519, sshdtest.KindECDSA, sshdtest.KindRSA)
	}
	expectKeys(t, shown[0], keys(all)...)
	expectKeys(t, shown[1], keys(rsa)...)
	cert, ok := shown[2].Keys[0].(*ssh.Certificate)
	if !ok || !bytes.Equal(cert.SignatureKey.Marshal(), ca.Public().Marshal()) {
		t.Errorf("the first key is %s", shown[2].Keys[0].Type())
	}
	shown[2].Keys = shown[2].Keys[1:]
	expectKeys(t, shown[2], keys(certified)...)
	refused := fleettest.AsError[*fleetssh.ConnectionError](t, shown[3].Err)
	fleettest.Contains(t, refused.Error(), "exchange keys with", "no common algorithm for host key")
	expectKeys(t, shown[4], keys(sha1)...)
	fleettest.Equal(t, "known by", fmt.Sprint(shown[0].Name, " ", shown[0].Port, ", ", shown[5].Name, " ", shown[5].Port),
		fmt.Sprintf("127.0.0.1 %d, web 22", all.Port))

	for _, s := range []*sshdtest.Server{all, rsa, certified} {
		if log := s.Log(); strings.Contains(log, "nobody-at-all") {
			t.Errorf("the scan tried to log in: %s", log)
		}
	}
	// One connection lists the algorithms, and one more fetches each key.
	fleettest.Equal(t, "connections", strings.Count(rsa.Log(), "Connection from "), 2)
	fleettest.Equal(t, "connections", strings.Count(all.Log(), "Connection from "), 2*4)
}

// A scan finds the same keys as ssh-keyscan.
func TestSSHDScanAsKeyscan(t *testing.T) {
	t.Parallel()
	s := sshdtest.Start(t, sshdtest.Options{})
	out, err := exec.CommandContext(fleettest.Soon(t), "ssh-keyscan", "-p", strconv.Itoa(s.Port), s.Host).Output()
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, key := range scan(t, addressOnly(s))[0].Keys {
		lines = append(lines, fleettest.KnownLines(s.Address(), key)...)
	}
	for _, line := range lines {
		fleettest.Contains(t, string(out), line)
	}
	fleettest.Equal(t, "keys", len(lines), strings.Count(string(out), s.Address()+" "))
}

// Hosts behind a hop share one connection to it, and the hop's own key must be trusted.
func TestSSHDScanThroughHop(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	server, hop := fleettest.StartSSHD(t, sshdtest.Options{})
	first, second := sshdtest.Start(t, sshdtest.Options{}), sshdtest.Start(t, sshdtest.Options{HostKeys: []string{sshdtest.KindECDSA}})
	hosts := []fleetssh.HostConfig{addressOnly(first), addressOnly(second), addressOnly(second)}
	hosts[2].Port = 1
	for i := range hosts {
		hosts[i].Proxy = &hop
		hosts[i].Attempts = 1
	}
	shown := scan(t, hosts...)
	expectKeys(t, shown[0], fleettest.KeysOf(first, sshdtest.KindED25519, sshdtest.KindECDSA, sshdtest.KindRSA)...)
	expectKeys(t, shown[1], second.HostKey(sshdtest.KindECDSA))
	e := fleettest.AsError[*fleetssh.ConnectionError](t, shown[2].Err)
	fleettest.Equal(t, "phase", e.Phase, "connect")
	server.Logged(t, 1, "Accepted publickey")

	stranger := hop
	stranger.HostKeys = fleettest.Trust(t, "# no host")
	hosts[0].Proxy, hosts[1].Proxy = &stranger, &stranger
	for _, s := range scan(t, hosts[:2]...) {
		proxy := fleettest.AsError[*fleetssh.ProxyError](t, s.Err)
		fleettest.AsError[*fleetssh.HostKeyError](t, proxy.Err)
		fleettest.Equal(t, "keys", len(s.Keys), 0)
	}
	server.Logged(t, 1, "Accepted publickey")
}

// A failure is reported as the error of its host, after as many attempts as the host allows.
func TestScanErrors(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	where := func(s fleettest.Server) fleetssh.HostConfig {
		return fleetssh.HostConfig{Host: s.Host(), Port: s.Port(), ConnectTimeout: fleettest.Patience, RetryDelay: -1}
	}
	dropping := where(fleettest.NewServer(t, func(h *simfleet.Host) { h.DropFirst = 2 }))
	alwaysDropping := where(fleettest.NewServer(t, func(h *simfleet.Host) { h.DropFirst = 20 }))
	silent := where(fleettest.Faulty(t, simfleet.SilentAccept))
	silent.ConnectTimeout, silent.Attempts = 5*time.Second, 2
	missing := fleetssh.HostConfig{Host: "no-such-host.invalid", Attempts: 1, RetryDelay: -1}
	shown := scan(t, dropping, alwaysDropping, silent, missing)
	fleettest.Equal(t, "keys", fmt.Sprint(len(shown[0].Keys), shown[0].Err), "1 <nil>")
	fleettest.Equal(t, "attempts", fleettest.AsError[*fleetssh.ConnectionError](t, shown[1].Err).Attempts, 3)
	late := fleettest.AsError[*fleetssh.TimeoutError](t, shown[2].Err)
	fleettest.Equal(t, "late", fmt.Sprint(late.Phase, late.Attempts), "handshake2")
	fleettest.AsError[*fleetssh.UnknownHostError](t, shown[3].Err)

	_, err := fleettest.NewFleet(t, fleetssh.HostConfig{Host: "a b"}).ScanHostKeys(t.Context())
	fleettest.AsError[*fleetssh.ConfigError](t, err)
}

// Leaving the loop or cancelling the context stops the scans that are in progress.
func TestScanEndsEarly(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	good, silent := fleettest.NewServer(t, nil), fleettest.Faulty(t, simfleet.SilentAccept)
	hosts := []fleetssh.HostConfig{good.Config()}
	for range 20 {
		hosts = append(hosts, silent.Config())
	}
	p := fleettest.NewFleet(t, hosts...)
	p.PoolSize = 10
	shown, err := p.ScanHostKeys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for s := range shown {
		fleettest.Equal(t, "first result", s.Index, 0)
		break
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if shown, err = p.ScanHostKeys(ctx); err != nil {
		t.Fatal(err)
	}
	seen := make(map[int]bool)
	for s := range shown {
		cancel()
		seen[s.Index] = true
		if s.Index > 0 && !errors.Is(s.Err, context.Canceled) {
			t.Errorf("host %d: %v", s.Index, s.Err)
		}
	}
	fleettest.Equal(t, "hosts", len(seen), len(hosts))
}

func TestScanOverOwnTransport(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	s := fleettest.NewServer(t, nil)
	dialed := 0
	host := fleetssh.HostConfig{Host: "elsewhere", DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		dialed++
		return new(net.Dialer).DialContext(ctx, network, s.Addr())
	}}
	shown := scan(t, host)
	fleettest.Equal(t, "shown", fmt.Sprint(len(shown[0].Keys), shown[0].Err, " ", shown[0].Name, " ", shown[0].Port), "1 <nil> elsewhere 22")
	fleettest.Equal(t, "connections", dialed, 2)
}

func TestKnownHostsPaths(t *testing.T) {
	t.Setenv("HOME", "/home/alice")
	fleettest.Equal(t, "named", fmt.Sprint((&fleetssh.KnownHosts{Files: []string{"~/keys", "x"}}).Paths()), "[/home/alice/keys x]")
	fleettest.Equal(t, "default", new(fleetssh.KnownHosts).Paths()[0], "/home/alice/.ssh/known_hosts")
}
