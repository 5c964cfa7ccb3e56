package fleetssh

import (
	"context"
	"iter"
	"sync"

	"golang.org/x/crypto/ssh"
)

// ShownKeys are the keys that one host has shown to [ParallelClient.ScanHostKeys].
type ShownKeys struct {
	Index int // of the host in ParallelClient.Hosts

	// Name and Port are the entry of known_hosts files that the keys belong to: the name and port
	// of the host, or HostKeyAlias and 22.
	Name string
	Port int

	// Keys are the keys that the host has proved to hold, each once. If it has certificates,
	// the first is one of them.
	Keys []ssh.PublicKey

	// Refused says for each of Keys why it is refused whatever known_hosts files say:
	// RevokedHostKeys lists it, or it is shorter than Algorithms allow. Nil means that it is
	// not refused.
	Refused []error

	// Listed is what KnownHostsCommand lists for the host, in the format of
	// known_hosts files.
	Listed []byte

	// Err is the reason why there may be more keys; nil if these are all.
	Err error
}

// ScanHostKeys asks every host for all its keys, PoolSize hosts at a time, and yields the hosts in
// the order in which they finish. It does not log in to the hosts and adds no key to any file. Each
// key takes a connection of its own, which ends when the host has shown the key. ScanHostKeys
// connects to a host with three keys four times, one after the other. It logs in to hops as usual,
// once for all hosts behind them; the keys of hops must be trusted.
//
// ConnectTimeout and Attempts apply to each connection. Leaving the loop early or cancelling ctx
// ends the connections. All goroutines of ScanHostKeys have ended when the loop ends. Unless the
// loop is left early, every host is yielded once; a host that was not begun has an error. The
// sequence can be used once.
//
// The error is a [*ConfigError]; no host has been contacted in that case.
func (p *ParallelClient) ScanHostKeys(ctx context.Context) (iter.Seq[ShownKeys], error) {
	slots, err := p.begin(0)
	if err != nil {
		return nil, err
	}
	return func(yield func(ShownKeys) bool) {
		ctx, cancel := context.WithCancel(ctx)
		shown, left := make(chan ShownKeys), make(chan struct{})
		send := func(s ShownKeys) {
			select {
			case shown <- s:
			case <-left:
			}
		}
		var wg sync.WaitGroup
		defer func() {
			close(left)
			cancel()
			wg.Wait()
		}()
		wg.Go(func() {
			defer close(shown)
			_ = p.each(ctx, slots, func(ctx context.Context, i int, host *slot) error { // the loop gets the errors of the hosts
				defer host.work.begin(PhaseScan)()
				ctx, cancel := host.during(ctx)
				defer cancel()
				keys := host.scan(ctx, p.d, i)
				send(keys)
				return keys.Err
			}, func(i int, host *slot, why error) {
				keys := ShownKeys{Index: i, Err: why}
				keys.Name, keys.Port = host.host.keyName()
				send(keys)
			})
		})
		for s := range shown {
			if !yield(s) {
				return
			}
		}
	}, nil
}

// scan asks the host for its keys.
func (s *slot) scan(ctx context.Context, d *dialer, i int) ShownKeys {
	host := s.host
	shown := ShownKeys{Index: i}
	shown.Name, shown.Port = host.keyName()
	if shown.Err = host.unusable(); shown.Err != nil {
		return shown
	}
	host.HostKeys = InsecureIgnoreHostKeys{} // the keys are only listed: no file needs to be read
	keys, err := d.engine.ScanKeys(ctx, d.config(&host))
	shown.Keys, shown.Refused, shown.Listed, shown.Err = keys.Keys, keys.Refused, keys.Listed, publicError(err)
	return shown
}
