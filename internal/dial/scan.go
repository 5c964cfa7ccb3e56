package dial

import (
	"bytes"
	"context"
	"errors"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/crypto/ssh"

	"fleetssh/internal/algorithms"
	"fleetssh/internal/deadline"
	"fleetssh/internal/knownhosts"
)

// ShownKeys are the keys that a host has shown.
type ShownKeys struct {
	Keys    []ssh.PublicKey // each once; if there are certificates, the first is one of them
	Refused []error         // why each of Keys is refused whatever files say; nil: it is not
	Listed  []byte          // what KnownHostsCommand lists for the host
}

// ScanKeys asks a host for all keys that it has, each over a connection of its own, and does not
// log in. The error is a [*Failure], and then there may be more keys.
func (d *Dialer) ScanKeys(ctx context.Context, host *Config) (ShownKeys, error) {
	s := newKeyScan(d, host)
	err := s.run(ctx)
	return s.shown, err
}

// keyScan asks one host for its keys.
type keyScan struct {
	d     *Dialer
	host  *Config
	kinds [][]string
	addrs []netip.AddrPort // of the host, once it has answered

	shown    ShownKeys // so far
	listings knownhosts.Listings
	listed   map[string]bool // which of them are in shown
}

func newKeyScan(d *Dialer, host *Config) *keyScan {
	scanned := *host
	scanned.HostKeys.Files, scanned.HostKeys.Check = nil, func(string, int, ssh.PublicKey) error { return errScanned }
	s := &keyScan{d: d, host: &scanned, kinds: algorithms.HostKeyKinds()}
	if a := host.Algorithms; a != nil && len(a.HostKeys)+len(a.MoreHostKeys)+len(a.NoHostKeys) > 0 {
		// They would be asked for all at once. Weak ones are asked for if named.
		others := *a
		others.HostKeys, others.MoreHostKeys, others.NoHostKeys = nil, nil, nil
		scanned.Algorithms = &others
		for _, name := range slices.Concat(a.HostKeys, a.MoreHostKeys) {
			if !slices.ContainsFunc(s.kinds, func(kind []string) bool { return slices.Contains(kind, name) }) {
				s.kinds = append(s.kinds, []string{name})
			}
		}
	}
	return s
}

// errScanned is why the key that a scan has asked for is not accepted: the connection ends with
// the key in its failure, and nobody logs in.
var errScanned = errors.New("only asked for")

// run asks for the keys of the host, one kind after the other.
func (s *keyScan) run(ctx context.Context) error {
	var has []string  // the host's algorithms, once it has listed them
	var missing error // with the list
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

// add records a key that the host has shown, and what is listed for the host.
func (s *keyScan) add(ctx context.Context, shown *Failure) error {
	key, refused := shown.Key, shown.Err
	if s.host.Algorithms.CheckCertificate(key) != nil {
		key = algorithms.PlainKey(key) // the certificate counts for the key in it only
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
	keys := &s.host.HostKeys
	text, err := s.d.listed(ctx, s.host, &s.listings, knownhosts.ForHost, keys.Name, keys.Port, key)
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

// ask returns the failure with the key that the host shows when it is asked for one of a kind,
// with as many attempts as the host is given.
func (s *keyScan) ask(ctx context.Context, kind []string) (*Failure, error) {
	for n := 1; ; n++ {
		err := s.connect(ctx, kind)
		if shown, ok := err.(*Failure); ok && shown.Kind == BadHostKey {
			return shown, nil
		}
		if n >= s.host.Attempts || ctx.Err() != nil || !isTemporary(err) {
			return nil, withAttempts(err, n)
		}
		select {
		case <-time.After(s.host.RetryDelay):
		case <-ctx.Done():
			return nil, interrupted(ctx, withAttempts(err, n), s.host, phaseConnect, n)
		}
	}
}

// connect makes one connection. It always fails, with a [BadHostKey] if a key was shown.
func (s *keyScan) connect(ctx context.Context, kind []string) error {
	call := &Call{Host: s.host}
	a := &attempt{d: s.d, call: call, host: s.host, auth: &authenticator{host: s.host, call: call}, begun: time.Now(), addrs: s.addrs}
	ctx, clock, stop := deadline.Start(ctx, s.host.ConnectTimeout)
	defer stop()
	a.clock = clock
	login, err := a.connect(ctx, kind)
	if err == nil { // Check lets nobody in
		login.Conn.Close()
		return errors.New("the key was not checked")
	}
	s.addrs = nil
	if !isTemporary(err) {
		s.addrs = a.addrs
	}
	return err
}
