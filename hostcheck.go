package fleetssh

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"

	"golang.org/x/crypto/ssh"

	"fleetssh/internal/account"
	"fleetssh/internal/algorithms"
	"fleetssh/internal/dial"
	"fleetssh/internal/knownhosts"
	"fleetssh/internal/krl"
)

// What a host key has to be, whatever policy decides whom it belongs to. All of it only
// narrows: it is asked before the policy is, and applies where that trusts everybody.

// judgeHostKey says whether the key that a host shows may be trusted. A warning is about
// one that is.
func (a *attempt) judgeHostKey(ctx context.Context, remote net.Addr, key ssh.PublicKey) (warning string, err error) {
	name, port := a.host.keyName()
	if err := a.d.checkRevoked(a.host.RevokedHostKeys, key); err != nil {
		return "", dial.KeyFailure(name, port, key, err)
	}
	if err := a.host.algorithms().CheckSize(key); err != nil {
		return "", dial.KeyFailure(name, port, key, &knownhosts.KeyError{Reason: knownhosts.Weak, Key: key, Err: err})
	}
	judged := key
	doubt := a.host.algorithms().CheckCertificate(key)
	if doubt != nil {
		// As for ssh, the host has shown just the key then.
		judged = algorithms.PlainKey(key)
	}
	policy, byFiles := a.policy.(hostKeyFiles)
	if !byFiles {
		return "", withDoubt(keyFailureOf(a.policy.Check(name, port, judged), judged), doubt)
	}
	listed, err := a.list(ctx, knownhosts.ForHost, name, port, judged)
	if err != nil {
		return "", err
	}
	if warning, err = policy.policy.Check(listed, name, port, judged); err != nil {
		return "", withDoubt(dial.KeyFailure(name, port, judged, err), doubt)
	}
	if ip, ok := a.addressOf(remote, judged); ok {
		more, err := a.judgeAddress(ctx, policy.policy, ip, judged)
		if err != nil {
			return "", err
		}
		if warning == "" {
			warning = more
		}
	}
	return warning, nil
}

// withDoubt notes why a certificate was not looked at in the error for the key in it.
func withDoubt(err, doubt error) error {
	if doubt == nil {
		return err
	}
	failure, ok := err.(*dial.Failure)
	fault, files := errors.AsType[*knownhosts.KeyError](err)
	if !ok || !files || fault.Err != nil {
		return err
	}
	noted, doubted := *failure, *fault
	doubted.Err = doubt
	noted.Err = &doubted
	return &noted
}

// addressOf returns the address by which a host is to be known besides its name.
func (a *attempt) addressOf(remote net.Addr, key ssh.PublicKey) (string, bool) {
	h := a.host
	_, certificate := key.(*ssh.Certificate)
	if !h.CheckHostIP || certificate || h.HostKeyAlias != "" || h.Proxy != nil || h.DialContext != nil || remote == nil {
		return "", false
	}
	at, err := netip.ParseAddrPort(remote.String())
	if err != nil {
		return "", false
	}
	ip := at.Addr().Unmap()
	if named, err := netip.ParseAddr(h.Host); err == nil && named.Unmap().WithZone("") == ip.WithZone("") {
		return "", false
	}
	return ip.String(), true
}

// judgeAddress refuses a host whose address is known by another key. One that is not
// known is added, where hosts are.
func (a *attempt) judgeAddress(ctx context.Context, policy *knownhosts.Policy, ip string, key ssh.PublicKey) (warning string, err error) {
	port := a.host.port()
	listed, err := a.list(ctx, knownhosts.ForAddress, ip, port, key)
	if err != nil {
		return "", err
	}
	err = policy.With(listed).Check(ip, port, key)
	fault, ok := errors.AsType[*knownhosts.KeyError](err)
	switch {
	case err == nil, ok && fault.Reason == knownhosts.Unknown && !policy.AcceptNew:
		return "", nil
	case ok && fault.Reason == knownhosts.Unknown:
		// That the address could not be added is not worth the connection.
		warning, err = policy.Add(fault, ip, port, key)
		if fault, ok := errors.AsType[*knownhosts.KeyError](err); ok && fault.NotAdded != nil {
			return "the address was not added to the known hosts: " + fault.NotAdded.Error(), nil
		}
	}
	if err != nil {
		err = &dial.Failure{Kind: dial.BadHostKey, Host: ip, Port: port, Phase: "host_key", Key: key, Err: fmt.Errorf("by its address %s (CheckHostIP): %w", ip, err)}
	}
	return warning, err
}

// preferredKeys returns the algorithms to ask the host for, as a policy does.
func (a *attempt) preferredKeys(ctx context.Context) ([]string, error) {
	list, err := a.knownKeys(ctx)
	if err == nil && len(a.host.RevokedHostKeys) > 0 {
		list = algorithms.WithCertificates(list) // which may be revoked, where the keys in them are not
	}
	return list, err
}

func (a *attempt) knownKeys(ctx context.Context) ([]string, error) {
	name, port := a.host.keyName()
	policy, byFiles := a.policy.(hostKeyFiles)
	if !byFiles {
		return a.policy.Algorithms(name, port), nil
	}
	listed, err := a.list(ctx, knownhosts.ForOrder, name, port, nil)
	if err != nil && ctx.Err() != nil {
		return nil, a.fail(ctx, err)
	}
	if err != nil {
		return nil, err
	}
	return policy.policy.With(listed).Algorithms(name, port), nil
}

// list returns what KnownHostsCommand lists for a host by this name, nil if there is no
// such command. Without a key, nothing has been shown yet.
func (a *attempt) list(ctx context.Context, why, name string, port int, key ssh.PublicKey) (*knownhosts.DB, error) {
	if len(a.host.KnownHostsCommand) == 0 {
		return nil, nil
	}
	a.phases.enter("host_key")
	text, err := a.host.listed(ctx, a.d, &a.listings, why, name, port, key)
	if err != nil {
		return nil, err
	}
	db := new(knownhosts.DB)
	return db, db.Read(bytes.NewReader(text), filepath.Base(a.host.KnownHostsCommand[0]))
}

// listed returns what KnownHostsCommand lists for a host by this name, for which it is run
// unless it has been; nil if there is no such command.
func (h *HostConfig) listed(ctx context.Context, d *dialer, l *knownhosts.Listings, why, name string, port int, key ssh.PublicKey) ([]byte, error) {
	if len(h.KnownHostsCommand) == 0 {
		return nil, nil
	}
	text, err := l.Get(ctx, d.listers, h.KnownHostsCommand, why, name, port, key)
	if err != nil {
		return nil, &dial.Failure{Kind: dial.BadHostKey, Host: h.name(), Port: h.port(), Phase: "host_key", Key: key, Err: fmt.Errorf("KnownHostsCommand: %w", err)}
	}
	return text, nil
}

// commandFault says why KnownHostsCommand cannot be used.
func (h *HostConfig) commandFault() string {
	if len(h.KnownHostsCommand) == 0 {
		return ""
	}
	err := knownhosts.Command(h.KnownHostsCommand).Check(h.Host, h.port())
	_, byFiles := h.HostKeys.(hostKeyFiles)
	switch {
	case err != nil:
		return err.Error()
	case h.HostKeys != nil && !byFiles:
		return "it goes with known_hosts files only, and HostKeys is another policy"
	}
	return ""
}

// checkRevoked returns an error if one of the files lists a key, or cannot be read.
func (d *dialer) checkRevoked(files []string, key ssh.PublicKey) error {
	for _, file := range files {
		file = account.Expand(file)
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
