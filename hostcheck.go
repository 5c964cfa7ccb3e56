package fleetssh

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"

	"golang.org/x/crypto/ssh"

	"fleetssh/internal/account"
	"fleetssh/internal/algorithms"
	"fleetssh/internal/knownhosts"
	"fleetssh/internal/krl"
)

// What a host key has to be, whatever policy decides whom it belongs to. All of it only
// narrows: it is asked before the policy is, and applies where that trusts everybody.

// judgeHostKey says whether the key that a host shows may be trusted. A warning is about
// one that is.
func (a *attempt) judgeHostKey(ctx context.Context, remote net.Addr, key ssh.PublicKey) (warning string, err error) {
	name, port := a.host.keyName()
	if err := a.d.revoked.check(a.host.RevokedHostKeys, key); err != nil {
		return "", hostKeyError(name, port, key, err)
	}
	if err := a.host.algorithms().CheckSize(key); err != nil {
		return "", hostKeyError(name, port, key, &knownhosts.KeyError{Reason: knownhosts.Weak, Key: key, Err: err})
	}
	judged := key
	doubt := a.host.algorithms().Doubt(key)
	if doubt != nil {
		// As for ssh, the host has shown just the key then.
		judged = algorithms.PlainKey(key)
	}
	policy, byFiles := a.policy.(*hostKeyFiles)
	if !byFiles {
		return "", withDoubt(a.policy.Check(name, port, judged), doubt)
	}
	listed, err := a.list(ctx, listHost, name, port, judged)
	if err != nil {
		return "", err
	}
	if warning, err = policy.check(listed, name, port, judged); err != nil {
		return "", withDoubt(err, doubt)
	}
	if ip, ok := a.addressOf(remote, judged); ok {
		more, err := a.judgeAddress(ctx, policy, ip, judged)
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
	hostKey, ok := errors.AsType[*HostKeyError](err)
	fault, files := errors.AsType[*knownhosts.KeyError](err)
	if !ok || !files || fault.Err != nil {
		return err
	}
	noted, doubted := *hostKey, *fault
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
func (a *attempt) judgeAddress(ctx context.Context, policy *hostKeyFiles, ip string, key ssh.PublicKey) (warning string, err error) {
	port := a.host.port()
	listed, err := a.list(ctx, listAddress, ip, port, key)
	if err != nil {
		return "", err
	}
	err = policy.with(listed).Check(ip, port, key)
	fault, ok := errors.AsType[*knownhosts.KeyError](err)
	switch {
	case err == nil, ok && fault.Reason == knownhosts.Unknown && policy.unknown == RefuseUnknown:
		return "", nil
	case ok && fault.Reason == knownhosts.Unknown:
		// That the address could not be added is not worth the connection.
		warning, err = policy.add(fault, ip, port, key)
		if fault, ok := errors.AsType[*knownhosts.KeyError](err); ok && fault.NotAdded != nil {
			return "the address was not added to the known hosts: " + fault.NotAdded.Error(), nil
		}
	}
	if err != nil {
		err = &HostKeyError{Host: ip, Port: port, Key: key, Err: fmt.Errorf("by its address %s (CheckHostIP): %w", ip, err)}
	}
	return warning, err
}

// revocations are the files of revoked keys that have been read, each once for all
// hosts. The zero value is ready for use.
type revocations struct {
	mu   sync.Mutex // protects read
	read map[string]func() (*krl.List, error)
}

// check returns an error if one of the files lists a key, or cannot be read.
func (r *revocations) check(files []string, key ssh.PublicKey) error {
	for _, file := range files {
		file = account.Expand(file)
		list, err := r.list(file)
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

// list reads a file, if that has not been done. Others who ask for it meanwhile wait.
func (r *revocations) list(file string) (*krl.List, error) {
	r.mu.Lock()
	read := r.read[file]
	if read == nil {
		read = sync.OnceValues(func() (*krl.List, error) { return krl.ReadFile(file) })
		if r.read == nil {
			r.read = make(map[string]func() (*krl.List, error))
		}
		r.read[file] = read
	}
	r.mu.Unlock()
	return read()
}
