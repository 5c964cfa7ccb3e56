package knownhosts

import (
	"errors"
	"net"
	"os"
	"strconv"
	"sync"

	"golang.org/x/crypto/ssh"
)

// A Policy trusts the hosts that its files list. Its methods may be called by many
// goroutines.
type Policy struct {
	DB *DB

	Adds    bool   // a host that is not listed is trusted, and added to File
	Lenient bool   // even if it cannot be added
	File    string // os.DevNull: hosts are kept nowhere

	mu    sync.Mutex      // protects asked
	asked map[string]bool // hosts that were to be asked for another key first
}

// With returns the files, and what is listed for one host beside them; nil: nothing.
func (p *Policy) With(listed *DB) Union {
	if listed == nil {
		return Union{p.DB}
	}
	return Union{p.DB, listed}
}

// Check returns nil if a key may be trusted, by the files or by what is listed for the
// host beside them. A warning is about a key that is trusted.
func (p *Policy) Check(listed *DB, host string, port int, key ssh.PublicKey) (warning string, err error) {
	err = p.With(listed).Check(host, port, key)
	fault, ok := errors.AsType[*KeyError](err)
	if !ok || fault.Reason != Unknown || !p.Adds {
		return "", err
	}
	if len(fault.Retry) > 0 && p.ask(net.JoinHostPort(host, strconv.Itoa(port))) {
		return "", err
	}
	return p.Add(fault, host, port, key)
}

// Add adds a host that is not known.
func (p *Policy) Add(fault *KeyError, host string, port int, key ssh.PublicKey) (warning string, err error) {
	if p.File == os.DevNull {
		return "", nil
	}
	err = p.DB.Add(p.File, host, port, key)
	if _, judged := errors.AsType[*KeyError](err); err == nil || judged {
		return "", err
	}
	if p.Lenient {
		if p.DB.Remember(host, port, key) == nil {
			return "the host key is trusted, but was not added to the known ones: " + err.Error(), nil
		}
	}
	unadded := *fault
	unadded.NotAdded = err
	return "", &unadded
}

// ask reports whether a host is to be asked for another key: once.
func (p *Policy) ask(host string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.asked[host] {
		return false
	}
	if p.asked == nil {
		p.asked = make(map[string]bool)
	}
	p.asked[host] = true
	return true
}
