package fleetssh

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// ForwardLocal listens on a local address for each host and connects each caller from
// that host to target: see [Client.ForwardLocal]. The first host gets the port of
// listen and each other the next one; with port 0 each gets a free one. A socket can
// be listened on for a single host only.
//
// The slice has one tunnel for each host, in the order of Hosts. They work until they or
// p are closed: when the connection to a host is lost, the next caller has it made anew.
// ForwardLocal connects to all hosts, so that those that cannot be reached show; their
// tunnels are there all the same, and try again when somebody calls. Callers of a host that
// cannot be reached are reset, within two seconds after it was tried without trying again. What goes
// wrong later is told to the Logger, once until it goes well again.
//
// The error is a [*HostsError] if some hosts could not be reached. If it is another, such
// as a [*ConfigError] or that a port is taken, the slice is nil and no host was contacted.
// The tunnels outlive ctx, which bounds the call.
func (p *ParallelClient) ForwardLocal(ctx context.Context, listen, target string) ([]*Tunnel, error) {
	to, err := parseTarget(target)
	if err != nil {
		return nil, err
	}
	return p.forwardEach(ctx, listen, func(by opening) func(*Tunnel, callerConn) {
		return func(t *Tunnel, caller callerConn) { t.connect(caller, to, by) }
	})
}

// ForwardSOCKS listens on a local address for each host and serves SOCKS there: see
// [Client.ForwardSOCKS], and ForwardLocal for the rest. For one proxy that leads to all
// hosts see ForwardProxy.
func (p *ParallelClient) ForwardSOCKS(ctx context.Context, listen string) ([]*Tunnel, error) {
	return p.forwardEach(ctx, listen, func(by opening) func(*Tunnel, callerConn) {
		return func(t *Tunnel, caller callerConn) { t.serveSOCKS(caller, by.anywhere) }
	})
}

func (p *ParallelClient) forwardEach(ctx context.Context, listen string, serve func(opening) func(*Tunnel, callerConn)) ([]*Tunnel, error) {
	at, err := parseListen(listen)
	if err != nil {
		return nil, err
	}
	slots, err := p.begin(hopMemory)
	if err != nil {
		return nil, err
	}
	var tunnels []*Tunnel
	for i, s := range slots {
		own, err := at.next(i)
		var t *Tunnel
		if err == nil {
			t, err = listenHere(ctx, p.d.log, own, serve(opening{&s.host, s.reach(p.d).open}))
		}
		if err == nil {
			err = p.keep(t, s)
		}
		if err != nil {
			closeAll(tunnels)
			return nil, err
		}
		tunnels = append(tunnels, t)
	}
	return tunnels, p.reachAll(ctx, slots)
}

// next returns where to listen for host number i.
func (e endpoint) next(i int) (endpoint, error) {
	switch {
	case i == 0:
	case e.path != "":
		return e, &ConfigError{Host: -1, Field: "listen", Reason: "one socket cannot serve several hosts"}
	case e.port == 0:
	case e.port+i > 65535:
		return e, &ConfigError{Host: -1, Field: "listen", Reason: fmt.Sprintf("there is no port for host %d: each has the next one after %d", i, e.port)}
	default:
		e.port += i
	}
	return e, nil
}

// reachAll connects to the hosts.
func (p *ParallelClient) reachAll(ctx context.Context, slots []*slot) error {
	errs := make([]error, len(slots))
	p.each(ctx, len(slots), func(i int) error {
		link, err := slots[i].reach(p.d).connect(ctx)
		if err == nil {
			link.client.leave()
		}
		errs[i] = err
		return err
	}, func(i int) { errs[i] = p.skipped(ctx) })
	return hostsError(len(slots), func(i int) error { return errs[i] })
}

// keep has Close end a tunnel, and SetHosts if it is that of a host. The error is that p is
// closed.
func (p *ParallelClient) keep(t *Tunnel, s *slot) error {
	p.mu.Lock()
	closed := p.closed
	removed := s != nil && s.removed.Load()
	if !closed {
		if p.tunnels == nil {
			p.tunnels = make(map[*Tunnel]*slot)
		}
		p.tunnels[t] = s
	}
	p.mu.Unlock()
	t.onEnd(func() {
		p.mu.Lock()
		delete(p.tunnels, t)
		p.mu.Unlock()
	})
	if closed {
		t.Close()
		return &ConnectionError{Host: "all hosts", Phase: "forward", Err: errClosed}
	}
	if removed {
		t.end(s.removedTunnel())
	}
	return nil
}

// removedTunnel is why a tunnel ends whose host SetHosts has removed.
func (s *slot) removedTunnel() error {
	return &ConnectionError{Host: s.host.name(), Port: s.host.port(), Phase: "forward", Err: errRemoved}
}

func closeAll(tunnels []*Tunnel) {
	for _, t := range tunnels {
		t.end(nil)
	}
	for _, t := range tunnels {
		t.wg.Wait()
	}
}

// ForwardRemote listens on every host and connects each caller from here to target: see
// [Client.ForwardRemote]. The slice has one tunnel for each host, in the order of Hosts.
// When the connection to a host is lost, it is made anew until the host listens again,
// after pauses of one second at first and 30 at most; a port that the host has chosen stays the
// same. That goes for hosts too that could not be reached, or did not listen, in the
// beginning: the [*HostsError] tells them, and their tunnels keep trying. Until the host
// listens, Addr is what was asked for.
func (p *ParallelClient) ForwardRemote(ctx context.Context, listen, target string) ([]*Tunnel, error) {
	at, err := parseListen(listen)
	if err != nil {
		return nil, err
	}
	to, err := parseTarget(target)
	if err != nil {
		return nil, err
	}
	slots, err := p.begin(hopMemory)
	if err != nil {
		return nil, err
	}
	tunnels := make([]*Tunnel, len(slots))
	keepers := make([]*remoteKeeper, len(slots))
	for i, s := range slots {
		tunnels[i] = newTunnel(p.d.log, at.addr())
		keepers[i] = &remoteKeeper{tunnel: tunnels[i], reach: s.reach(p.d), at: at, to: to}
		if err := p.keep(tunnels[i], s); err != nil {
			closeAll(tunnels[:i])
			return nil, err
		}
	}
	errs := make([]error, len(slots))
	p.each(ctx, len(slots), func(i int) error {
		errs[i] = keepers[i].listen(ctx)
		return errs[i]
	}, func(i int) { errs[i] = p.skipped(ctx) })
	for i, k := range keepers {
		if !tunnels[i].spawn(k.run) && k.now != nil {
			k.now.Close()
		}
	}
	return tunnels, hostsError(len(slots), func(i int) error { return errs[i] })
}

// remoteKeeper keeps a host listening for a tunnel.
type remoteKeeper struct {
	tunnel *Tunnel
	reach  *reach
	at, to endpoint
	now    *Tunnel // of the client that there is; nil: the host does not listen
}

// listen has the host listen.
func (k *remoteKeeper) listen(ctx context.Context) error {
	link, err := k.reach.connect(ctx)
	if err != nil {
		return err
	}
	now, err := link.client.listen(ctx, k.at, k.to)
	dead := err != nil && timedOut(err) && ctx.Err() == nil && !link.client.alive(ctx)
	link.client.leave()
	if dead {
		k.reach.slot.retire(link.client)
	}
	if err != nil {
		return err
	}
	k.now = now
	k.tunnel.mu.Lock()
	defer k.tunnel.mu.Unlock()
	k.tunnel.addr = now.Addr()
	if k.at.path == "" && k.at.port == 0 {
		if address, parseErr := parseEndpoint(now.Addr().String()); parseErr == nil {
			k.at.port = address.port
		}
	}
	return nil
}

// relistenPause is how long to wait, at first and at most, before a host is asked again
// to listen.
const relistenPause, longRelistenPause = time.Second, 30 * time.Second

// run lets the host listen until the tunnel ends.
func (k *remoteKeeper) run() {
	ctx := k.tunnel.ctx
	pause := relistenPause
	for {
		if k.now != nil {
			select {
			case <-k.now.ctx.Done():
			case <-ctx.Done():
			}
			k.now.Close()
			k.now, pause = nil, relistenPause
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
		pause = min(2*pause, longRelistenPause)
		err := k.listen(ctx)
		if _, refused := errors.AsType[*SessionError](err); refused {
			k.tunnel.failed(&k.reach.slot.host, err)
		}
		if err == nil {
			k.tunnel.worked(&k.reach.slot.host)
		}
	}
}
