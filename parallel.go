package fleetssh

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"reflect"
	"slices"
	"sync"
	"time"

	"fleetssh/internal/conn"
	"fleetssh/internal/tunnel"
)

const (
	defaultPoolSize     = 100
	defaultOutputMemory = 8 << 20
)

// ParallelClient works on many hosts at once. Set the fields, then call the methods, from any number
// of goroutines. Fields must not change after the first call; StopOnError and MaxFailures may change
// while no method is at work. Connections are made when they are first needed and kept until Close. A
// dead connection is replaced.
type ParallelClient struct {
	// Hosts are the hosts to work on. A host may be listed more than once: each
	// entry has a connection of its own. An empty list is allowed.
	Hosts []HostConfig

	// PoolSize is how many hosts are worked on at the same time. A host counts until it has accepted
	// the command (RunCommand) or until it is done (other methods). Zero means 100.
	PoolSize int

	// StopOnError skips the hosts that have not begun once more than MaxFailures hosts have failed
	// in one call.
	StopOnError bool
	MaxFailures int

	// BeforeStart, if not nil, is called each time before a command is sent to host number i, on the
	// goroutine that sends it. The command is sent when BeforeStart has returned. Calls overlap.
	BeforeStart func(i int)

	// HostDone, if not nil, is called each time a method that works on all hosts is done with host
	// number i or skips it, before the method returns. err is nil, or the error of the host in the
	// [*HostsError]. RunCommand is done with a host when the command has started. HostDone runs on
	// the goroutine of the host: calls overlap, and the next host waits until it returns.
	HostDone func(i int, err error)

	// PasswordsDiffer says that each host has its own passwords. If it is false, a shared password
	// (the same user and the same value) is tried on one host first. The other hosts get it only
	// after that host has accepted it, so a wrong password cannot lock an account in a directory
	// that all hosts use. This applies to Auth.Password, including that of hops, and to
	// Command.SudoPassword. If a host needs no password or gives no clear answer, the next host
	// makes the first try. Once the password is refused, all other hosts end with a
	// [*PasswordError], as NotStarted, for the lifetime of p.
	PasswordsDiffer bool

	// AskAgain, if not nil, is called when the first host to try a shared password has refused it.
	// It returns another password for all hosts, and is called at most twice for each password. If
	// it returns an error, or if AskAgain and the host's Auth.Ask are nil, the password stays
	// refused. Only one goroutine of the process calls it at a time; the hosts wait meanwhile. It
	// must return when ctx ends.
	AskAgain func(ctx context.Context, refused RefusedPassword) (string, error)

	// OneShot closes the connection to a host as soon as its work is done.
	OneShot bool

	// OutputMemory is how many bytes of unread output of all hosts together are kept in memory; more
	// goes to a temporary file. Zero means 8 MiB.
	OutputMemory int64

	// TunnelChanged, if not nil, is called when the state of a host changes that a tunnel of p leads
	// to, for example when its connection is lost or made again. If it is nil, the changes are
	// logged to Logger. Calls come from any goroutine and may overlap. TunnelChanged must return
	// soon, because clients of the tunnel wait for it.
	TunnelChanged func(TunnelEvent)

	// Logger receives log records about the connections. If it is nil, nothing is logged. At the
	// debug level it tells how each login goes, as ssh -v does. No record has a secret.
	Logger *slog.Logger

	once sync.Once
	d    *dialer
	ctx  context.Context // Close ends it, with the cause conn.ErrClosed
	end  context.CancelCauseFunc

	mu      sync.Mutex // protects what follows
	slots   []*slot    // one for each of Hosts, in order
	fault   error      // what is wrong with a host of slots
	last    []*HostOutput
	lastErr error                    // why the last RunCommand contacted no host
	tunnels map[*tunnel.Tunnel]*slot // open tunnels and their hosts; a nil slot: the tunnel serves all hosts
	closed  bool
}

// SetHosts replaces Hosts. Unchanged entries keep their connections. The connections and tunnels of
// all other entries are closed, and the commands that run over them end. Calls under way no longer
// connect to these entries.
func (p *ParallelClient) SetHosts(hosts []HostConfig) {
	p.mu.Lock()
	old := p.slots
	p.Hosts = hosts
	if old == nil || p.closed {
		p.mu.Unlock()
		return
	}
	byName := make(map[string][]*slot)
	for _, s := range old {
		byName[s.host.Host] = append(byName[s.host.Host], s)
	}
	p.slots = make([]*slot, len(hosts))
	for i, host := range hosts {
		same := byName[host.Host]
		for k, s := range same {
			if sameHost(&s.host, &host) {
				p.slots[i] = s
				byName[host.Host] = append(same[:k:k], same[k+1:]...)
				break
			}
		}
		if p.slots[i] == nil {
			p.slots[i] = newSlot(host)
		}
	}
	p.fault = checkSlots(p.slots)
	removed := slices.Concat(slices.Collect(maps.Values(byName))...)
	remove(removed, errRemoved)
	tunnels := make(map[*tunnel.Tunnel]*slot)
	for t, s := range p.tunnels {
		if s != nil && s.removed.Load() {
			tunnels[t] = s
		}
	}
	p.mu.Unlock()
	var wg sync.WaitGroup
	for _, s := range removed {
		wg.Go(s.close)
	}
	for t, s := range tunnels {
		wg.Go(func() {
			t.End(s.removedTunnel())
			_ = t.Wait() // the owner of the tunnel gets the same error from its Wait
		})
	}
	wg.Wait()
	p.d.keepHops(hosts)
}

// errRemoved is why calls cannot use a host that SetHosts has removed.
var errRemoved = errors.New("the host has been removed")

// Client returns the connection to host number i and connects if there is none. p closes it. It
// returns the same errors as [Dial], or a [*ConfigError] if there is no such host. A hop that could
// not be reached is tried again after a minute, or by another method at once.
func (p *ParallelClient) Client(ctx context.Context, i int) (*Client, error) {
	slots, err := p.begin(hopMemory)
	if err != nil {
		return nil, err
	}
	if i < 0 || i >= len(slots) {
		return nil, &ConfigError{Index: i, Field: "ParallelClient.Hosts", Reason: "no such host"}
	}
	link, err := slots[i].connect(ctx, p.d)
	if err != nil {
		return nil, err
	}
	link.client.conn.Leave()
	return link.client, nil
}

// Close closes all connections and waits until everything in this process that used them has ended.
// Output stays readable. Close may be called more than once; no method can start anything
// afterwards. Calls under way no longer connect to hosts: hosts that have not begun are skipped.
func (p *ParallelClient) Close() error {
	p.mu.Lock()
	slots, again := p.slots, p.closed
	p.slots, p.closed = nil, true
	tunnels := slices.Collect(maps.Keys(p.tunnels))
	if p.end != nil {
		p.end(conn.ErrClosed)
	}
	p.mu.Unlock()
	endAll(slots, conn.ErrClosed)
	for _, t := range tunnels {
		t.End(nil)
	}
	var wg sync.WaitGroup
	for _, s := range slots {
		wg.Go(s.close)
	}
	wg.Wait()
	closeAll(tunnels) // returns soon: the connections of the tunnels have ended
	if p.d == nil || again {
		return nil
	}
	return p.d.close()
}

// begin initializes the client at its first use and checks the hosts. Hops that could not be reached
// longer ago than memory may be tried again.
func (p *ParallelClient) begin(memory time.Duration) ([]*slot, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, &ConnectionError{Host: "all hosts", Phase: PhaseConnect, Err: conn.ErrClosed}
	}
	p.once.Do(func() {
		p.d = newDialer(p.Logger, p.OutputMemory, p.passwords())
		p.d.askAgain = p.AskAgain
		p.d.tunnelChanged = p.TunnelChanged
		p.ctx, p.end = context.WithCancelCause(context.Background())
	})
	if p.PoolSize < 0 {
		return nil, &ConfigError{Index: -1, Field: "ParallelClient.PoolSize", Reason: "it is negative"}
	}
	if p.MaxFailures < 0 {
		return nil, &ConfigError{Index: -1, Field: "ParallelClient.MaxFailures", Reason: "it is negative"}
	}
	if p.slots == nil {
		slots := make([]*slot, len(p.Hosts))
		for i := range p.Hosts {
			slots[i] = newSlot(p.Hosts[i])
		}
		p.slots, p.fault = slots, checkSlots(slots)
	}
	if p.fault != nil {
		return nil, p.fault
	}
	p.d.forgiveHops(memory)
	return p.slots, nil
}

// checkSlots returns the error of the first invalid host. It is called once, because the hosts of
// slots never change.
func checkSlots(slots []*slot) error {
	for i, s := range slots {
		if err := s.host.check(i); err != nil {
			return err
		}
	}
	return nil
}

// sameHost reports whether two entries may share a connection. Functions cannot be compared, so
// entries with functions are never the same.
func sameHost(a, b *HostConfig) bool {
	identical := func(x, y any) bool {
		v := reflect.ValueOf(x)
		return !v.IsValid() && y == nil || v.IsValid() && v.Comparable() && x == y
	}
	if a.Auth.Ask != nil || b.Auth.Ask != nil || !identical(a.HostKeys, b.HostKeys) || len(a.Auth.Signers) != len(b.Auth.Signers) {
		return false
	}
	for i := range a.Auth.Signers {
		if !identical(a.Auth.Signers[i], b.Auth.Signers[i]) {
			return false
		}
	}
	x, y := *a, *b
	if x.Proxy != y.Proxy || x.DialContext != nil || y.DialContext != nil {
		return false // entries share a hop only if they point to the same HostConfig
	}
	x.Proxy, y.Proxy = nil, nil
	x.HostKeys, y.HostKeys, x.Auth.Signers, y.Auth.Signers = nil, nil, nil, nil
	return reflect.DeepEqual(x, y)
}
