package fleetssh

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"fleetssh/internal/dial"
	"fleetssh/internal/password"
	"fleetssh/internal/spool"
	"fleetssh/internal/turns"
)

// dialer holds what the connections of one [ParallelClient], or of one [Dial], share.
type dialer struct {
	log    *slog.Logger
	budget *spool.Budget
	engine *dial.Dialer
	known  KnownHosts // the default policy: AskUnknown

	passwords *password.Table                                        // nil: no host shares a password with others
	askAgain  func(context.Context, RefusedPassword) (string, error) // nil: the user is not asked

	tunnelChanged func(TunnelEvent) // see ParallelClient; nil: events are logged

	mu   sync.Mutex // protects what follows
	hops map[*HostConfig]*dial.Config
}

func newDialer(log *slog.Logger, outputMemory int64, passwords *password.Table) *dialer {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	if outputMemory == 0 {
		outputMemory = defaultOutputMemory
	}
	return &dialer{
		log:       log,
		known:     KnownHosts{Unknown: AskUnknown},
		budget:    spool.NewBudget(outputMemory),
		engine:    dial.New(dial.Options{Log: log, Public: publicError, Passwords: passwords}),
		passwords: passwords,
	}
}

// dial connects to host and logs in, with as many attempts as host allows. The client keeps
// host, which must not change any more. dial reports its progress to work, if that is not nil.
// The timing is that of the last attempt, even if it failed.
func (d *dialer) dial(ctx context.Context, host *HostConfig, work *progress) (*Client, Timing, error) {
	if err := host.unusable(); err != nil {
		return nil, Timing{}, err
	}
	c := &Client{host: host, d: d}
	login, timing, err := d.engine.Dial(ctx, dial.Call{
		Host: d.config(host), Incoming: c.listeners.accept,
		Phase: func(phase dial.Phase) { work.enter(Phase(phase)) }, Attempt: work.attempt, Aside: turns.Aside(ctx),
	})
	if err != nil {
		return nil, timingOf(timing), publicError(err)
	}
	c.conn, c.login = login.Conn, login
	return c, timingOf(timing), nil
}

// timingOf returns how long the phases of connecting took.
func timingOf(t dial.Timing) Timing {
	return Timing{
		Proxy: t.Proxy, Resolve: t.Resolve, Connect: t.Connect, Handshake: t.Handshake, Auth: t.Auth,
		Attempts: t.Attempts,
	}
}

// keepHops closes the connections to hops that none of the hosts uses.
func (d *dialer) keepHops(hosts []HostConfig) {
	needed := make(map[*HostConfig]bool)
	for i := range hosts {
		for hop := hosts[i].Proxy; hop != nil && !needed[hop]; hop = hop.Proxy {
			needed[hop] = true
		}
	}
	dropped := make(map[*dial.Config]bool)
	d.mu.Lock()
	for hop, c := range d.hops {
		if !needed[hop] {
			delete(d.hops, hop)
			dropped[c] = true
		}
	}
	d.mu.Unlock()
	d.engine.DropHops(dropped)
}

// hopMemory is how long calls for a single host remember that a hop could not be reached.
const hopMemory = time.Minute

// forgiveHops allows new attempts to reach hops whose last attempt failed longer ago than age.
func (d *dialer) forgiveHops(age time.Duration) { d.engine.RetryHops(age) }

// close releases all resources of the dialer. All its clients must be closed before.
func (d *dialer) close() error {
	d.engine.Close()
	return d.budget.Close()
}
