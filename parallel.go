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

// ParallelClient works on many hosts at once. Set the fields, then call the
// methods, from as many goroutines as you like; the fields must not change after
// the first call, but for StopOnError and MaxFailures while no method is at work. Connections are made when they are first needed and kept until
// Close; one that has died is replaced.
type ParallelClient struct {
	// Hosts are the hosts to work on. A host may be listed more than once: each
	// entry has a connection of its own. An empty list is allowed.
	Hosts []HostConfig

	// PoolSize is how many hosts are worked on at the same time: by RunCommand
	// until they have accepted the command, by the other methods until they
	// are done. Zero means 100.
	PoolSize int

	// StopOnError leaves out the hosts not yet begun once more than MaxFailures
	// hosts have failed in one call.
	StopOnError bool
	MaxFailures int

	// BeforeStart, if not nil, is called each time before host number i is asked to run a
	// command, on the goroutine that asks: the command is sent when it has returned.
	// Calls overlap.
	BeforeStart func(i int)

	// HostDone, if not nil, is called each time a method that works on all hosts is done with
	// host number i, or skips it, before the method returns: with nil, or the error that the
	// host has in its [*HostsError]. RunCommand is done when the command has started. It is
	// called on the goroutine of the host: calls overlap, and the next host waits.
	HostDone func(i int, err error)

	// PasswordsDiffer says that each host has an opinion of its own of a password. If it is
	// false, a password that hosts share, which is one of the same user and the same value,
	// is tried on one host first, and the others get it only when that has accepted it, so
	// that a wrong one cannot lock an account that all of them ask the same directory about.
	// That goes for Auth.Password, of hops too, and for Command.SudoPassword. A host that
	// needs no password, or does not say what it makes of it, leaves the first try to the
	// next. When it is refused, the others end with a [*PasswordError], as NotStarted, as
	// long as p lives.
	PasswordsDiffer bool

	// AskAgain, if not nil, is called when the host that has tried a shared password first
	// has refused it, and returns another for all of them, at most twice for each password.
	// If it returns an error, or if AskAgain and the Auth.Ask of the host are nil, the
	// password stays refused. One goroutine at a time calls it, in the whole process; the
	// hosts wait meanwhile. It must return when ctx ends.
	AskAgain func(ctx context.Context, refused RefusedPassword) (string, error)

	// OneShot closes the connection to a host as soon as its work is done.
	OneShot bool

	// OutputMemory is how many bytes of unread output all hosts together keep
	// in memory; more goes to a temporary file. Zero means 8 MiB.
	OutputMemory int64

	// TunnelChanged, if not nil, is told what happens to the hosts of the tunnels that p
	// has made: that a host is lost, for example, and connected again. If it is nil, the
	// Logger is told. Calls are on any goroutine and may overlap; TunnelChanged must return
	// soon, since callers of the tunnel wait for it.
	TunnelChanged func(TunnelEvent)

	// Logger receives what happens on the connections. If nil, nothing does.
	Logger *slog.Logger

	once sync.Once
	d    *dialer
	ctx  context.Context // ends with Close, for conn.ErrClosed
	end  context.CancelCauseFunc

	mu      sync.Mutex // protects what follows
	slots   []*slot    // one for each of Hosts, in order
	fault   error      // what is wrong with a host of slots
	last    []*HostOutput
	lastErr error                    // why the last RunCommand contacted nobody
	tunnels map[*tunnel.Tunnel]*slot // that have not ended, and whose they are; nil: those of all hosts
	closed  bool
}

// SetHosts replaces Hosts. Entries that have not changed keep their connection;
// the connections and tunnels of the others are closed, and what runs over them ends.
// Calls under way do not connect to them any more.
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
			_ = t.Wait() // whoever has the tunnel is told
		})
	}
	wg.Wait()
	p.d.keepHops(hosts)
}

// errRemoved is why nothing can be done with a host that SetHosts has removed.
var errRemoved = errors.New("the host has been removed")

// Client returns the connection to host number i, connecting if need be.
// It is closed by p. The error is as for [Dial]. A hop that could not be reached is
// tried again after a minute, or by another method.
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

// Close closes every connection and waits until everything that ran over them has
// ended here. Output stays readable. It may be called more than once; nothing can
// be started afterwards. Calls under way do not connect to any host any more: hosts that they
// have not begun with are skipped.
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
	closeAll(tunnels) // what they wait for has ended
	if p.d == nil || again {
		return nil
	}
	return p.d.close()
}

// begin makes the client ready at its first use and checks the hosts. Hops that
// could not be reached longer ago than memory may be tried again.
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

// checkSlots returns what is wrong with the first host that cannot be used. The hosts of
// slots never change, so this is done once.
func checkSlots(slots []*slot) error {
	for i, s := range slots {
		if err := s.host.check(i); err != nil {
			return err
		}
	}
	return nil
}

// sameHost reports whether two entries mean the same connection. Functions cannot
// be compared: two entries are the same only if neither has one.
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
		return false // sharing a hop is pointing to the same one
	}
	x.Proxy, y.Proxy = nil, nil
	x.HostKeys, y.HostKeys, x.Auth.Signers, y.Auth.Signers = nil, nil, nil, nil
	return reflect.DeepEqual(x, y)
}
