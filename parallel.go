package fleetssh

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"math"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"fleetssh/internal/conn"
	"fleetssh/internal/deadline"
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

// Connect connects to every host and logs in. Calling it is optional. The error is
// a [*ConfigError], and then no host was contacted, or a [*HostsError].
func (p *ParallelClient) Connect(ctx context.Context) error {
	slots, err := p.begin(0)
	if err != nil {
		return err
	}
	errs := make([]error, len(slots))
	p.each(ctx, len(slots), func(i int) error {
		link, err := slots[i].connect(ctx, p.d)
		if err == nil {
			link.client.conn.Leave()
		}
		errs[i] = err
		return err
	}, func(i int) { errs[i] = p.skipped(ctx) })
	return hostsError(len(slots), func(i int) error { return errs[i] })
}

// RunCommand starts cmd on every host and returns when each host has either
// accepted it or failed. The commands run on, also when ctx ends after the return:
// Join waits for them.
//
// The slice has one entry for each host, in the order of Hosts. The error is nil if
// every host started and a [*HostsError] if some did not. If it is a
// [*HostArgumentError] or a [*ConfigError], the slice is nil and no host was
// contacted.
func (p *ParallelClient) RunCommand(ctx context.Context, cmd Command) ([]*HostOutput, error) {
	outs, err := p.runCommand(ctx, cmd)
	p.mu.Lock()
	p.last, p.lastErr = outs, nil
	if outs == nil {
		p.lastErr = err
	}
	p.mu.Unlock()
	return outs, err
}

func (p *ParallelClient) runCommand(ctx context.Context, cmd Command) ([]*HostOutput, error) {
	slots, err := p.begin(0)
	if err != nil {
		return nil, err
	}
	r, err := cmd.prepare(len(slots), p.d)
	if err != nil {
		return nil, err
	}
	// Before the first start: Command.Timeout runs from then on, while other hosts are
	// still being connected to.
	r.play()
	outs := make([]*HostOutput, len(slots))
	p.each(ctx, len(slots), func(i int) error {
		outs[i] = p.start(ctx, slots[i], r, i)
		if p.OneShot {
			slots[i].retireCurrent()
		}
		return outs[i].Err
	}, func(i int) { outs[i] = newFailed(slots[i].host, "", p.skipped(ctx)) })
	r.closeAfter(outs)
	return outs, hostsError(len(outs), func(i int) error { return outs[i].Err })
}

// Join waits for commands to end; nil means those of the last RunCommand, and if that
// contacted no host, Join returns its error. Standard
// input left open is closed. Output need not be read. The error is nil if all ended
// with exit code zero, and a [*HostsError] otherwise. If ctx ends first, the error
// tells who has not finished, see [HostsError.Unfinished]; the commands run on, and
// Join may be called again.
func (p *ParallelClient) Join(ctx context.Context, outs []*HostOutput) error {
	if outs == nil {
		p.mu.Lock()
		var err error
		outs, err = p.last, p.lastErr
		p.mu.Unlock()
		if err != nil {
			return err
		}
	}
	for _, out := range outs {
		if out.input != nil {
			out.input.finish()
		}
	}
	errs := make([]error, len(outs))
	for i, out := range outs {
		errs[i] = out.WaitFinished(ctx)
	}
	return hostsError(len(outs), func(i int) error { return errs[i] })
}

// Finished reports whether all commands have ended, without waiting; nil means
// those of the last RunCommand.
func (p *ParallelClient) Finished(outs []*HostOutput) bool {
	if outs == nil {
		outs = p.LastOutput()
	}
	for _, out := range outs {
		if !out.Finished() {
			return false
		}
	}
	return true
}

// LastOutput returns the outputs of the last RunCommand, nil before the first and after
// one that contacted no host.
func (p *ParallelClient) LastOutput() []*HostOutput {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.last
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
		return nil, &ConfigError{Host: i, Field: "ParallelClient.Hosts", Reason: "no such host"}
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
		p.ctx, p.end = context.WithCancelCause(context.Background())
	})
	if p.PoolSize < 0 {
		return nil, &ConfigError{Host: -1, Field: "ParallelClient.PoolSize", Reason: "it is negative"}
	}
	if p.MaxFailures < 0 {
		return nil, &ConfigError{Host: -1, Field: "ParallelClient.MaxFailures", Reason: "it is negative"}
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

// each calls work for every host, PoolSize at a time and in order, until ctx ends, p is closed
// or, with StopOnError, too many hosts have failed. It calls skip for the rest, and returns
// when all calls have.
func (p *ParallelClient) each(ctx context.Context, n int, work func(i int) error, skip func(i int)) {
	size := p.PoolSize
	if size == 0 {
		size = defaultPoolSize
	}
	var next atomic.Int64
	var failed atomic.Int64
	most := int64(math.MaxInt64)
	if p.StopOnError {
		most = int64(p.MaxFailures)
	}
	var wg sync.WaitGroup
	for range min(size, n) {
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				switch {
				case i >= n:
					return
				case ctx.Err() != nil || p.ctx.Err() != nil || failed.Load() > most:
					skip(i)
				case work(i) != nil:
					failed.Add(1)
				}
			}
		})
	}
	wg.Wait()
}

// start runs the command on one host.
func (p *ParallelClient) start(ctx context.Context, s *slot, r *run, i int) *HostOutput {
	return p.startBy(ctx, s, i, starter{
		start: func(c *Client, ctx context.Context) *HostOutput { return c.start(ctx, r, i) },
		line: func() string {
			line, _, err := r.line(i)
			if err != nil {
				return "" // nothing can be sent
			}
			return line
		},
	})
}

// starter is a way to start something on a host.
type starter struct {
	start func(*Client, context.Context) *HostOutput
	line  func() string // what a host that is not reached would have been sent; nil: nothing
}

// startBy starts something on one host. A connection left from before that turns
// out to be dead is replaced.
func (p *ParallelClient) startBy(ctx context.Context, s *slot, i int, by starter) *HostOutput {
	defer s.work.begin(PhaseConnect)()
	for {
		link, err := s.connect(ctx, p.d)
		if err != nil {
			line := ""
			if by.line != nil {
				line = by.line()
			}
			out := newFailed(s.host, line, err)
			out.connected = link.timing
			return out
		}
		c := link.client
		if p.BeforeStart != nil {
			p.BeforeStart(i)
		}
		s.work.enter(PhaseStart)
		out := by.start(c, ctx)
		c.conn.Leave()
		if out.Err == nil {
			return out
		}
		lost, ok := out.Err.(*ConnectionError)
		again := ok && link.reused && lost.Phase == PhaseOpen && ctx.Err() == nil
		if c.conn.IsDone() || timedOut(out.Err) {
			s.retire(c)
		}
		if !again {
			return out
		}
	}
}

// timedOut reports whether a host has left a request unanswered.
func timedOut(err error) bool {
	_, ok := err.(*TimeoutError)
	return ok
}

// skipped returns why a host was left out of a call with ctx.
func (p *ParallelClient) skipped(ctx context.Context) error {
	if ctx.Err() == nil && p.ctx.Err() != nil {
		ctx = p.ctx
	}
	return skipped(ctx)
}

// skipped returns why a host was left out: ctx has ended, or too many hosts have failed.
func skipped(ctx context.Context) error {
	if cause := deadline.Cause(ctx); cause != nil {
		return joinErrors([]error{errSkipped, cause})
	}
	return errSkipped
}

// hostsError collects the errors of n hosts. It is nil if there is none.
func hostsError(n int, of func(i int) error) error {
	var failed []HostFailure
	for i := range n {
		if err := of(i); err != nil {
			failed = append(failed, HostFailure{Host: i, Err: err})
		}
	}
	if failed == nil {
		return nil
	}
	return &HostsError{Failed: failed, Total: n}
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
