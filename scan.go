package fleetssh

import (
	"context"
	"iter"
	"sync"

	"golang.org/x/crypto/ssh"

	"fleetssh/internal/account"
)

// ShownKeys are the keys that one host has shown to [ParallelClient.ScanHostKeys].
type ShownKeys struct {
	Host int // index into ParallelClient.Hosts

	// Name and Port are what the keys are known by: those of the host, or
	// HostKeyAlias and 22.
	Name string
	Port int

	// Keys are what the host has proved to hold, each once. If it has certificates,
	// the first is one of them.
	Keys []ssh.PublicKey

	// Refused says, for each of Keys, why it is refused whatever known_hosts files say:
	// RevokedHostKeys lists it, or it is shorter than Algorithms allow. Nil means that
	// it is not.
	Refused []error

	// Listed is what KnownHostsCommand lists for the host, in the format of
	// known_hosts files.
	Listed []byte

	// Err is why there may be more keys, nil if these are all.
	Err error
}

// KnownHostsFiles returns the files that [KnownHosts] reads if it is given these
// names: none means the user's, as far as there is a home directory, and then the
// system's. They need not exist.
func KnownHostsFiles(named ...string) []string {
	if len(named) == 0 {
		return defaultKnownHosts()
	}
	files := make([]string, len(named))
	for i, name := range named {
		files[i] = account.Expand(name)
	}
	return files
}

// ScanHostKeys asks every host for all keys it has, and yields them host by host, in
// the order in which they are done; PoolSize hosts are at work at a time. Nobody logs
// in to the hosts, and nothing is trusted: each key takes a connection that ends when
// the key is shown. A host that has three keys is connected to four times, one after
// the other. Hops are logged in to as usual, which means that their own keys must be
// trusted, and once for all hosts behind them.
//
// ConnectTimeout bounds each connection, and Attempts counts for each. Leaving the
// loop early or cancelling ctx ends the connections; when the loop has ended, so has
// every goroutine behind it. Every host is yielded once, those not begun with an
// error, unless the loop was left. The sequence can be used once.
//
// The error is a [*ConfigError], and then no host was contacted.
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
			_ = p.each(ctx, slots, func(i int, host *slot) error { // each host tells of its end itself
				defer host.work.begin(PhaseScan)()
				ctx, cancel := host.during(ctx)
				defer cancel()
				keys := host.scan(ctx, p.d, i)
				send(keys)
				return keys.Err
			}, func(i int, host *slot, why error) {
				keys := ShownKeys{Host: i, Err: why}
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
	shown := ShownKeys{Host: i}
	shown.Name, shown.Port = host.keyName()
	if shown.Err = host.unusable(); shown.Err != nil {
		return shown
	}
	host.HostKeys = InsecureIgnoreHostKeys() // nothing is trusted: no file need be read
	keys, err := d.engine.ScanKeys(ctx, d.config(&host))
	shown.Keys, shown.Refused, shown.Listed, shown.Err = keys.Keys, keys.Refused, keys.Listed, publicError(err)
	return shown
}
