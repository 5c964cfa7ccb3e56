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
	Keys    []ssh.PublicKey // without duplicates; a certificate, if there is one, comes first
	Refused []error         // for each key, why it is rejected even if files list it; or nil
	Listed  []byte          // the output of KnownHostsCommand for the host
}

// ScanKeys asks a host for all its keys, each on its own connection, without logging in. The error
// is a [*Failure]; the host may then have more keys than were returned.
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
	addrs []netip.AddrPort // the addresses of the host, after it has answered

	shown    ShownKeys // so far
	listings knownhosts.Listings
	listed   map[string]bool // the outputs that are in shown.Listed
}

func newKeyScan(d *Dialer, host *Config) *keyScan {
	scanned := *host
	scanned.HostKeys.Files, scanned.HostKeys.Check = nil, func(string, int, ssh.PublicKey) error { return errScanned }
	s := &keyScan{d: d, host: &scanned, kinds: algorithms.HostKeyKinds()}
	if a := host.Algorithms; a != nil && len(a.HostKeys)+len(a.MoreHostKeys)+len(a.NoHostKeys) > 0 {
		// These settings would apply to every connection of the scan. Instead, algorithms
		// that they name, including weak ones, are asked for one at a time.
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

// errScanned rejects every key during a scan, so that the connection ends before the login. The key
// is in the failure.
var errScanned = errors.New("the key was only asked for")

// run asks for the keys of the host, one kind after another.
func (s *keyScan) run(ctx context.Context) error {
	var has []string  // the host key algorithms of the host, if it has sent them
	var missing error // the error that had them
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

// add records a key that the host has shown, and the output of KnownHostsCommand for it.
func (s *keyScan) add(ctx context.Context, shown *Failure) error {
	key, refused := shown.Key, shown.Err
	if s.host.Algorithms.CheckCertificate(key) != nil {
		key = algorithms.PlainKey(key) // the certificate is ignored, as in judgeHostKey
	}
	if refused == errScanned {
		refused = nil
	} else if _, judged := errors.AsType[*knownhosts.KeyError](refused); !judged {
		return shown // a file of revoked keys cannot be read
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

// ask asks the host for a key of one kind, with up to Attempts attempts. It returns the failure
// that contains the key.
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

// connect makes one connection. It always returns an error: a [BadHostKey] if the host showed a
// key.
func (s *keyScan) connect(ctx context.Context, kind []string) error {
	call := &Call{Host: s.host}
	a := &attempt{d: s.d, call: call, host: s.host, auth: &authenticator{host: s.host, call: call}, begun: time.Now(), addrs: s.addrs}
	ctx, clock, stop := deadline.Start(ctx, s.host.ConnectTimeout)
	defer stop()
	a.clock = clock
	login, err := a.connect(ctx, kind)
	if err == nil { // not reached: Check rejects every key
		login.Conn.Close()
		return errors.New("the key was not checked")
	}
	s.addrs = nil
	if !isTemporary(err) {
		s.addrs = a.addrs
	}
	return err
}
