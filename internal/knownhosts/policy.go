package knownhosts

import (
	"errors"
	"net"
	"os"
	"strconv"
	"sync"

	"golang.org/x/crypto/ssh"
)

// A Policy trusts the hosts that its files list. Its methods may be called concurrently.
type Policy struct {
	DB *DB

	AcceptNew bool   // trust a host that is not listed, and add it to File
	Lenient   bool   // trust it even if it cannot be added
	File      string // os.DevNull: hosts are not saved

	mu      sync.Mutex      // protects retried
	retried map[string]bool // hosts that were to be asked for another key first
}

// With returns the files together with the lines for one host; listed may be nil.
func (p *Policy) With(listed *DB) Union {
	if listed == nil {
		return Union{p.DB}
	}
	return Union{p.DB, listed}
}

// Check returns nil if the files, or the lines for the host in listed, which may be nil, trust
// the key, or if it is accepted as new. The error is a [*KeyError]. A warning belongs to a key
// that is trusted.
func (p *Policy) Check(listed *DB, host string, port int, key ssh.PublicKey) (warning string, err error) {
	err = p.With(listed).Check(host, port, key)
	keyErr, ok := errors.AsType[*KeyError](err)
	if !ok || keyErr.Reason != Unknown || !p.AcceptNew {
		return "", err
	}
	if len(keyErr.Retry) > 0 && p.retry(net.JoinHostPort(host, strconv.Itoa(port))) {
		return "", err
	}
	return p.Add(keyErr, host, port, key)
}

// Add adds an unknown host to File. unknown is the error of Check, which Add returns with
// NotAdded if the host could not be added.
func (p *Policy) Add(unknown *KeyError, host string, port int, key ssh.PublicKey) (warning string, err error) {
	if p.File == os.DevNull {
		return "", nil
	}
	err = p.DB.Add(p.File, host, port, key)
	if _, judged := errors.AsType[*KeyError](err); err == nil || judged {
		return "", err
	}
	if p.Lenient {
		if p.DB.Remember(host, port, key) == nil {
			return "the host key is trusted, but was not added to the known hosts: " + err.Error(), nil
		}
	}
	notAdded := *unknown
	notAdded.NotAdded = err
	return "", &notAdded
}

// Trust adds an unknown host that the user trusts to File, or to the DB alone if hosts are not saved.
// unknown is the error of Check, which Trust returns with NotAdded if the host could not be added.
func (p *Policy) Trust(unknown *KeyError, host string, port int, key ssh.PublicKey) error {
	if p.File == os.DevNull {
		return p.DB.Remember(host, port, key)
	}
	_, err := p.Add(unknown, host, port, key)
	return err
}

// retry reports whether to ask a host for another key, which is done once.
func (p *Policy) retry(host string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.retried[host] {
		return false
	}
	if p.retried == nil {
		p.retried = make(map[string]bool)
	}
	p.retried[host] = true
	return true
}
