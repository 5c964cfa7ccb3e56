package login

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"fleetssh"
	"fleetssh/internal/fleettest"
	"fleetssh/internal/simfleet"
)

// Hosts whose keys are not known wait for the answer without holding up the others, although there is
// one turn for all of them, and nothing is held open at them meanwhile. A host that is confirmed is
// added to the file.
func TestConfirmHostKey(t *testing.T) {
	t.Parallel()
	fleet, hosts := fleettest.Simulated(t, 4, nil)
	file := filepath.Join(t.TempDir(), "known_hosts")
	if err := os.WriteFile(file, []byte(fleet.Servers[3].KnownHostsLine()), 0o600); err != nil {
		t.Fatal(err)
	}
	policy := &fleetssh.KnownHosts{Files: []string{file}, Unknown: fleetssh.AskUnknown}
	known := make(chan struct{}) // closed when the known host is done
	var asked sync.WaitGroup
	asked.Add(3)
	for i := range hosts {
		hosts[i].HostKeys = policy
		hosts[i].Attempts = 1
		hosts[i].ConfirmHostKey = func(ctx context.Context, key fleetssh.NewHostKey) bool {
			if key.Host != hosts[i].Host || key.File != file || key.Key == nil || key.Port != hosts[i].Port {
				t.Errorf("host %d: asked about %+v", i, key)
			}
			asked.Done()
			asked.Wait() // all new hosts wait at the same time
			<-known
			for fleet.Servers[i].Stats().Open != 0 {
				select {
				case <-ctx.Done():
					t.Errorf("host %d: a connection is open while the user is asked", i)
					return false
				case <-time.After(time.Millisecond):
				}
			}
			return i != 1
		}
	}
	p := fleettest.NewFleet(t, hosts...)
	p.PoolSize = 1
	ctx, cancel := context.WithTimeout(t.Context(), fleettest.Patience)
	defer cancel()
	var active, most atomic.Int32
	err := p.Do(ctx, func(_ context.Context, i int, _ *fleetssh.Client) error {
		most.Store(max(most.Load(), active.Add(1)))
		if i == 3 {
			close(known)
		}
		active.Add(-1)
		return nil
	})
	failed, ok := errors.AsType[*fleetssh.HostsError](err)
	if !ok || len(failed.Failed) != 1 || failed.Failed[0].Index != 1 {
		t.Fatalf("%v", err)
	}
	if e, ok := errors.AsType[*fleetssh.HostKeyError](failed.Failed[0].Err); !ok || e.Key == nil {
		t.Errorf("the host that the user refused: %v", failed.Failed[0].Err)
	}
	if most.Load() != 1 {
		t.Errorf("%d hosts at a time", most.Load())
	}
	text, err := os.ReadFile(file)
	if err != nil || strings.Count(string(text), "\n") != 3 {
		t.Errorf("known hosts: %v\n%s", err, text)
	}
	// They are known now.
	for i := range hosts {
		hosts[i].HostKeys, hosts[i].ConfirmHostKey = &fleetssh.KnownHosts{Files: []string{file}}, nil
	}
	if err := fleettest.NewFleet(t, hosts[0], hosts[2], hosts[3]).Connect(t.Context()); err != nil {
		t.Error(err)
	}
}

// The wait for an answer ends with the context. A strict policy asks nothing, and neither does one for a
// host whose key has changed. Without a file, the key is trusted as long as the policy exists.
func TestConfirmHostKeyLimits(t *testing.T) {
	t.Parallel()
	server := fleettest.NewServer(t, nil)
	dir := t.TempDir()
	file := filepath.Join(dir, "known_hosts")
	host := server.Config()
	host.HostKeys = &fleetssh.KnownHosts{Files: []string{file}, Unknown: fleetssh.AskUnknown}
	ctx, cancel := context.WithCancel(t.Context())
	host.ConfirmHostKey = func(ctx context.Context, _ fleetssh.NewHostKey) bool {
		cancel()
		<-ctx.Done()
		return true // too late
	}
	if _, err := fleetssh.Dial(ctx, host); !errors.Is(err, context.Canceled) {
		t.Errorf("after the context has ended: %v", err)
	}
	if _, err := os.Stat(file); err == nil {
		t.Error("the host was added after the context had ended")
	}

	host.ConfirmHostKey = func(context.Context, fleetssh.NewHostKey) bool {
		t.Error("asked")
		return true
	}
	refused := func(what string, policy *fleetssh.KnownHosts) {
		t.Helper()
		host.HostKeys = policy
		if _, err := fleetssh.Dial(t.Context(), host); err == nil {
			t.Errorf("%s: connected", what)
		}
	}
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	refused("strict", &fleetssh.KnownHosts{Files: []string{file}})
	other := fleettest.NewServer(t, nil).KnownHostsLine()
	name, _, _ := strings.Cut(server.KnownHostsLine(), " ")
	_, key, _ := strings.Cut(other, " ")
	if err := os.WriteFile(file, []byte(name+" "+key+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	refused("changed", &fleetssh.KnownHosts{Files: []string{file}, Unknown: fleetssh.AskUnknown})

	asked := 0
	host.HostKeys = &fleetssh.KnownHosts{Files: []string{os.DevNull}, Unknown: fleetssh.AskUnknown}
	host.ConfirmHostKey = func(_ context.Context, key fleetssh.NewHostKey) bool {
		if asked++; key.File != "" {
			t.Errorf("added to %q", key.File)
		}
		return true
	}
	for range 2 {
		c, err := fleetssh.Dial(t.Context(), host)
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
	}
	if asked != 1 {
		t.Errorf("asked %d times", asked)
	}
}

// A hop whose key is not known is asked about, too: once for all hosts behind it, which wait.
func TestConfirmHostKeyOfHop(t *testing.T) {
	t.Parallel()
	_, hosts := fleettest.Simulated(t, 3, func(_ int, h *simfleet.Host) { h.Dial = new(net.Dialer).DialContext })
	file := filepath.Join(t.TempDir(), "known_hosts")
	policy := &fleetssh.KnownHosts{Files: []string{file}, Unknown: fleetssh.AskUnknown}
	var mu sync.Mutex
	asked := make(map[string]int)
	for i := range hosts {
		hosts[i].HostKeys, hosts[i].ConnectTimeout = policy, fleettest.Patience
		hosts[i].ConfirmHostKey = func(_ context.Context, key fleetssh.NewHostKey) bool {
			mu.Lock()
			defer mu.Unlock()
			asked[key.Host]++
			return true
		}
	}
	hop := hosts[0]
	hosts[1].Proxy, hosts[2].Proxy = &hop, &hop
	if err := fleettest.NewFleet(t, hosts[1:]...).Connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i := range hosts {
		if n := asked[hosts[i].Host]; n != 1 {
			t.Errorf("host %d: asked %d times", i, n)
		}
	}
	if text, err := os.ReadFile(file); err != nil || strings.Count(string(text), "\n") != 3 {
		t.Errorf("%v\n%s", err, text)
	}
}
