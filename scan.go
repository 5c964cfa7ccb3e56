package fleetssh

import (
	"bytes"
	"context"
	"errors"
	"iter"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"fleetssh/internal/account"
	"fleetssh/internal/algorithms"
	"fleetssh/internal/deadline"
	"fleetssh/internal/dial"
	"fleetssh/internal/knownhosts"
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
			p.each(ctx, len(slots), func(i int) error {
				defer slots[i].work.begin(PhaseScan)()
				ctx, cancel := slots[i].during(ctx)
				defer cancel()
				s := newKeyScan(p.d, slots[i].host)
				err := publicError(s.run(ctx))
				send(s.result(i, err))
				return err
			}, func(i int) { send(newKeyScan(p.d, slots[i].host).result(i, p.skipped(ctx))) })
		})
		for s := range shown {
			if !yield(s) {
				return
			}
		}
	}, nil
}

// keyScan asks one host for its keys.
type keyScan struct {
	d     *dialer
	host  HostConfig
	kinds [][]string
	addrs []netip.AddrPort // of the host, once it has answered

	shown    ShownKeys // so far
	listings knownhosts.Listings
	listed   map[string]bool // of these, what is in shown
}

func newKeyScan(d *dialer, host HostConfig) *keyScan {
	s := &keyScan{d: d, host: host, kinds: algorithms.HostKeyKinds()}
	if a := host.Algorithms; a != nil && len(a.HostKeys)+len(a.MoreHostKeys)+len(a.NoHostKeys) > 0 {
		// They would be asked for all at once. Weak ones are asked for if named.
		others := *a
		others.HostKeys, others.MoreHostKeys, others.NoHostKeys = nil, nil, nil
		s.host.Algorithms = &others
		for _, name := range slices.Concat(a.HostKeys, a.MoreHostKeys) {
			if !slices.ContainsFunc(s.kinds, func(kind []string) bool { return slices.Contains(kind, name) }) {
				s.kinds = append(s.kinds, []string{name})
			}
		}
	}
	return s
}

func (s *keyScan) result(i int, err error) ShownKeys {
	r := s.shown
	r.Host, r.Err = i, err
	r.Name, r.Port = s.host.keyName()
	return r
}

// run asks for the keys of the host. With an error they are those it showed before.
func (s *keyScan) run(ctx context.Context) error {
	var has []string  // the host's algorithms, once it has listed them
	var missing error // with the list
	if err := s.host.unusable(); err != nil {
		return err
	}
	for _, kind := range s.kinds {
		if has != nil && !slices.ContainsFunc(kind, func(name string) bool { return slices.Contains(has, name) }) {
			continue
		}
		shown, err := s.ask(ctx, kind)
		if disagree, ok := errors.AsType[*ssh.AlgorithmNegotiationError](err); ok && disagree.What == "host key" {
			has, missing = disagree.RequestedAlgorithms, err
			continue
		}
		if err != nil {
			return err
		}
		if err := s.add(ctx, shown); err != nil {
			return err
		}
	}
	if len(s.shown.Keys) == 0 {
		return missing
	}
	return nil
}

// add notes a key that the host has shown, and what is listed for the host.
func (s *keyScan) add(ctx context.Context, shown *dial.Failure) error {
	key, refused := shown.Key, shown.Err
	if s.host.algorithms().CheckCertificate(key) != nil {
		key = algorithms.PlainKey(key) // the certificate counts for that only
	}
	if refused == errScanned {
		refused = nil
	} else if _, judged := errors.AsType[*knownhosts.KeyError](refused); !judged {
		return shown // the files of revoked keys cannot be read
	}
	if slices.ContainsFunc(s.shown.Keys, func(k ssh.PublicKey) bool { return bytes.Equal(k.Marshal(), key.Marshal()) }) {
		return nil
	}
	s.shown.Keys, s.shown.Refused = append(s.shown.Keys, key), append(s.shown.Refused, refused)
	name, port := s.host.keyName()
	text, err := s.host.listed(ctx, s.d, &s.listings, knownhosts.ForHost, name, port, key)
	if err != nil || s.listed[string(text)] {
		return err
	}
	if s.listed == nil {
		s.listed = make(map[string]bool)
	}
	s.listed[string(text)] = true
	s.shown.Listed = append(append(s.shown.Listed, text...), '\n')
	return nil
}

// ask returns the error with the key that the host shows when it is asked for one of a
// kind, with as many attempts as the host allows.
func (s *keyScan) ask(ctx context.Context, kind []string) (*dial.Failure, error) {
	for n := 1; ; n++ {
		err := s.connect(ctx, kind)
		if shown, ok := err.(*dial.Failure); ok && shown.Kind == dial.BadHostKey {
			return shown, nil
		}
		if n >= s.host.attempts() || ctx.Err() != nil || !dial.IsTemporary(err) {
			return nil, dial.WithAttempts(err, n)
		}
		select {
		case <-time.After(s.host.retryDelay()):
		case <-ctx.Done():
			return nil, endedOr(ctx, dial.WithAttempts(err, n), &s.host, "connect", n)
		}
	}
}

// connect makes one connection. It always fails, with a [dial.BadHostKey] if a key was
// shown.
func (s *keyScan) connect(ctx context.Context, kind []string) error {
	a := &attempt{d: s.d, host: &s.host, policy: keyCollector{}, login: &login{host: &s.host}, begun: time.Now(), addrs: s.addrs}
	ctx, clock, stop := deadline.Start(ctx, s.host.connectTimeout())
	defer stop()
	a.clock = clock
	client, err := a.connect(ctx, kind)
	if err == nil { // keyCollector lets nobody in
		client.Close()
		return errors.New("the key was not checked")
	}
	s.addrs = nil
	if !dial.IsTemporary(err) {
		s.addrs = a.addrs
	}
	return err
}

// keyCollector is the policy of a scan: it trusts nobody, so that a connection ends
// with the key that was shown, in its error.
type keyCollector struct{}

var errScanned = errors.New("only asked for")

func (keyCollector) Algorithms(string, int) []string        { return nil }
func (keyCollector) Check(string, int, ssh.PublicKey) error { return errScanned }
