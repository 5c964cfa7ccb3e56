package dial

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"

	"golang.org/x/crypto/ssh"

	"fleetssh/internal/algorithms"
	"fleetssh/internal/knownhosts"
	"fleetssh/internal/krl"
)

// Revocations, key sizes and certificates are checked before the policy for host keys is asked,
// even if the policy trusts every key. These checks can only reject a key.

// judgeHostKey decides whether to trust the key that a host shows. A trusted key may come with a
// warning.
func (a *attempt) judgeHostKey(ctx context.Context, remote net.Addr, key ssh.PublicKey) (warning string, err error) {
	keys := &a.host.HostKeys
	name, port := keys.Name, keys.Port
	if err := a.d.checkRevoked(keys.Revoked, key); err != nil {
		return "", KeyFailure(name, port, key, err)
	}
	if err := a.host.Algorithms.CheckSize(key); err != nil {
		return "", KeyFailure(name, port, key, &knownhosts.KeyError{Reason: knownhosts.Weak, Key: key, Err: err})
	}
	judged := key
	doubt := a.host.Algorithms.CheckCertificate(key)
	if doubt != nil {
		// Like ssh, ignore the certificate and look at the key in it.
		judged = algorithms.PlainKey(key)
	}
	if keys.Files == nil {
		return "", withDoubt(keys.Check(name, port, judged), doubt)
	}
	listed, err := a.list(ctx, knownhosts.ForHost, name, port, judged)
	if err != nil {
		return "", err
	}
	if warning, err = keys.Files.Check(listed, name, port, judged); err != nil {
		return "", withDoubt(KeyFailure(name, port, judged, err), doubt)
	}
	if ip, ok := a.addressOf(remote, judged); ok {
		addrWarning, err := a.judgeAddress(ctx, ip, judged)
		if err != nil {
			return "", err
		}
		if warning == "" {
			warning = addrWarning
		}
	}
	return warning, nil
}

// unknownKey returns the error for a key that may be trusted if the user says so, or nil if err is
// another error.
func unknownKey(err error) *knownhosts.KeyError {
	f, ok := err.(*Failure)
	if !ok || f.Kind != BadHostKey {
		return nil
	}
	fault, ok := errors.AsType[*knownhosts.KeyError](f.Err)
	if !ok || fault.Reason != knownhosts.Unknown || fault.NotAdded != nil {
		return nil
	}
	return fault
}

// confirm waits until the user has decided about an unknown key, and adds it if it is to be trusted.
// refused is the failure if it is not. The connection that has shown the key is closed: the host may
// have little patience, and a thousand hosts wait for one answer. Another connection must show the
// key again.
func (d *Dialer) confirm(ctx context.Context, call *Call, refused error, unknown *knownhosts.KeyError) error {
	host, keys := call.Host, &call.Host.HostKeys
	call.enter(phaseConfirm)
	back := func() {}
	if call.Aside != nil {
		back = call.Aside()
	}
	trusted := keys.Confirm(ctx, unknown.Key)
	back()
	d.debug("the user was asked about the host key", host, "trusted", trusted)
	switch {
	case ctx.Err() != nil:
		return interrupted(ctx, refused, host, phaseHostKey, 0)
	case !trusted:
		return refused
	}
	if err := keys.Files.Trust(unknown, keys.Name, keys.Port, unknown.Key); err != nil {
		return KeyFailure(keys.Name, keys.Port, unknown.Key, err)
	}
	return nil
}

// withDoubt adds to a failure for the key in a certificate why the certificate was ignored.
func withDoubt(err, doubt error) error {
	if doubt == nil {
		return err
	}
	failure, ok := err.(*Failure)
	fault, files := errors.AsType[*knownhosts.KeyError](err)
	if !ok || !files || fault.Err != nil {
		return err
	}
	noted, doubted := *failure, *fault
	doubted.Err = doubt
	noted.Err = &doubted
	return &noted
}

// addressOf returns the address by which the key must be known as well. It returns false if only
// the name counts.
func (a *attempt) addressOf(remote net.Addr, key ssh.PublicKey) (string, bool) {
	_, certificate := key.(*ssh.Certificate)
	if !a.host.HostKeys.CheckAddress || certificate || remote == nil {
		return "", false
	}
	at, err := netip.ParseAddrPort(remote.String())
	if err != nil {
		return "", false
	}
	ip := at.Addr().Unmap()
	if named, err := netip.ParseAddr(a.host.Host); err == nil && named.Unmap().WithZone("") == ip.WithZone("") {
		return "", false
	}
	return ip.String(), true
}

// judgeAddress returns an error if the address is known with another key. It adds an unknown
// address if the policy adds hosts.
func (a *attempt) judgeAddress(ctx context.Context, ip string, key ssh.PublicKey) (warning string, err error) {
	port, files := a.host.Port, a.host.HostKeys.Files
	listed, err := a.list(ctx, knownhosts.ForAddress, ip, port, key)
	if err != nil {
		return "", err
	}
	err = files.With(listed).Check(ip, port, key)
	fault, ok := errors.AsType[*knownhosts.KeyError](err)
	switch {
	case err == nil, ok && fault.Reason == knownhosts.Unknown && !files.AcceptNew:
		return "", nil
	case ok && fault.Reason == knownhosts.Unknown:
		// The name is trusted already: a failure to add the address is only a warning.
		warning, err = files.Add(fault, ip, port, key)
		if fault, ok := errors.AsType[*knownhosts.KeyError](err); ok && fault.NotAdded != nil {
			return "the address was not added to the known hosts: " + fault.NotAdded.Error(), nil
		}
	}
	if err != nil {
		err = &Failure{Kind: BadHostKey, Host: ip, Port: port, Phase: phaseHostKey, Key: key, Err: fmt.Errorf("by its address %s (CheckHostIP): %w", ip, err)}
	}
	return warning, err
}

// preferredKeys returns the host key algorithms to ask the host for, or nil for any.
func (a *attempt) preferredKeys(ctx context.Context) ([]string, error) {
	list, err := a.knownKeys(ctx)
	if err == nil && len(a.host.HostKeys.Revoked) > 0 {
		list = algorithms.WithCertificates(list) // a certificate may be revoked although its key is not
	}
	return list, err
}

// knownKeys returns the algorithms of the keys that are known for the host.
func (a *attempt) knownKeys(ctx context.Context) ([]string, error) {
	keys := &a.host.HostKeys
	name, port := keys.Name, keys.Port
	if keys.Files == nil {
		return keys.Algorithms(name, port), nil
	}
	listed, err := a.list(ctx, knownhosts.ForOrder, name, port, nil)
	if err != nil && ctx.Err() != nil {
		return nil, a.fail(ctx, err)
	}
	if err != nil {
		return nil, err
	}
	return keys.Files.With(listed).Algorithms(name, port), nil
}

// list returns the keys that KnownHostsCommand lists for a name, or nil if there is no command.
// key is nil before the host has shown one.
func (a *attempt) list(ctx context.Context, why, name string, port int, key ssh.PublicKey) (*knownhosts.DB, error) {
	command := a.host.HostKeys.Command
	if len(command) == 0 {
		return nil, nil
	}
	a.phases.enter(phaseHostKey)
	text, err := a.d.listed(ctx, a.host, &a.listings, why, name, port, key)
	if err != nil {
		return nil, err
	}
	db := new(knownhosts.DB)
	return db, db.Read(bytes.NewReader(text), filepath.Base(command[0]))
}

// listed returns the output of KnownHostsCommand for a name, or nil if there is no command. It
// runs the command unless l has its output.
func (d *Dialer) listed(ctx context.Context, host *Config, l *knownhosts.Listings, why, name string, port int, key ssh.PublicKey) ([]byte, error) {
	command := host.HostKeys.Command
	if len(command) == 0 {
		return nil, nil
	}
	text, err := l.Get(ctx, d.listers, command, why, name, port, key)
	if err != nil {
		f := host.failure(BadHostKey, phaseHostKey, fmt.Errorf("KnownHostsCommand: %w", err))
		f.Key = key
		return nil, f
	}
	return text, nil
}

// checkRevoked returns an error if one of the files revokes the key or cannot be read.
func (d *Dialer) checkRevoked(files []string, key ssh.PublicKey) error {
	for _, file := range files {
		list, err := d.revoked.Read(file)
		if err != nil {
			return fmt.Errorf("revoked host keys: %w", err)
		}
		if reason := list.Reason(key); reason != "" {
			shown := algorithms.PlainKey(key)
			fault := &knownhosts.KeyError{
				Reason: knownhosts.Revoked, Key: key,
				Known: []knownhosts.Known{{File: file, Type: shown.Type(), Fingerprint: ssh.FingerprintSHA256(shown)}},
			}
			if reason != krl.TheKey {
				fault.Err = errors.New(reason)
			}
			return fault
		}
	}
	return nil
}

// CheckRevocations returns an error if a file of revoked keys cannot be read.
func (d *Dialer) CheckRevocations(file string) error {
	_, err := d.revoked.Read(file)
	return err
}
