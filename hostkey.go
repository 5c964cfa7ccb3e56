package fleetssh

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/crypto/ssh"

	"fleetssh/internal/knownhosts"
)

// HostKeyPolicy decides whether to trust a server.
type HostKeyPolicy interface {
	// Algorithms returns the host key algorithms to ask a host for, most
	// wanted first: those of the keys already known for it. Nil means any.
	Algorithms(host string, port int) []string

	// Check returns nil if key may be trusted for host, else a [*HostKeyError].
	// It is called from many goroutines at once.
	Check(host string, port int, key ssh.PublicKey) error
}

// systemKnownHosts are read after the user's files, if they exist.
var systemKnownHosts = []string{"/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2"}

// KnownHosts trusts the keys in the named known_hosts files and nothing else.
// Without files it reads the user's and the system's, as far as they exist. They
// are read once, by this call. A line that cannot be read is passed over.
//
// Matching is that of OpenSSH: see sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT".
func KnownHosts(files ...string) (HostKeyPolicy, error) {
	optional := len(files) == 0
	if optional {
		files = defaultKnownHosts()
	}
	db, err := readKnownHosts(files, optional)
	if err != nil {
		return nil, err
	}
	return &knownHostKeys{db: db}, nil
}

// AcceptNewHostKeys trusts a host that the known_hosts file does not list, and
// adds it there. A key that has changed is still refused. An empty name means
// the user's file; the system's are read too then. The file is made if it is
// missing. Many goroutines and processes may add to the same file at once.
func AcceptNewHostKeys(file string) (HostKeyPolicy, error) {
	files := []string{file}
	if file == "" {
		files = defaultKnownHosts()
		if len(files) == len(systemKnownHosts) {
			return nil, errors.New("no home directory to keep known_hosts in")
		}
		file = files[0]
	}
	db, err := readKnownHosts(files, true)
	if err != nil {
		return nil, err
	}
	return &newHostKeys{knownHostKeys: knownHostKeys{db: db}, file: expandHome(file)}, nil
}

// InsecureIgnoreHostKeys trusts every server, an attacker's too.
func InsecureIgnoreHostKeys() HostKeyPolicy { return ignoreHostKeys{} }

func defaultKnownHosts() []string {
	var files []string
	if home, err := os.UserHomeDir(); err == nil {
		files = append(files, filepath.Join(home, ".ssh", "known_hosts"), filepath.Join(home, ".ssh", "known_hosts2"))
	}
	return append(files, systemKnownHosts...)
}

func readKnownHosts(files []string, optional bool) (*knownhosts.DB, error) {
	db := new(knownhosts.DB)
	for _, file := range files {
		err := db.ReadFile(expandHome(file))
		if err != nil && !(optional && errors.Is(err, fs.ErrNotExist)) {
			return nil, fmt.Errorf("known hosts: %w", err)
		}
	}
	return db, nil
}

// knownHostKeys is the strict policy.
type knownHostKeys struct{ db *knownhosts.DB }

func (p *knownHostKeys) Algorithms(host string, port int) []string {
	return p.db.Algorithms(host, port)
}

func (p *knownHostKeys) Check(host string, port int, key ssh.PublicKey) error {
	return hostKeyError(host, port, key, p.db.Check(host, port, key))
}

// newHostKeys is the policy that adds what is not known.
type newHostKeys struct {
	knownHostKeys
	file string

	mu    sync.Mutex      // protects asked
	asked map[string]bool // hosts that were to be asked for another key first
}

func (p *newHostKeys) Check(host string, port int, key ssh.PublicKey) error {
	err := p.db.Check(host, port, key)
	fault, ok := errors.AsType[*knownhosts.KeyError](err)
	if ok && fault.Reason == knownhosts.Unknown && (len(fault.Retry) == 0 || !p.ask(hostPort(host, port))) {
		err = p.db.Add(p.file, host, port, key)
	}
	return hostKeyError(host, port, key, err)
}

// ask reports whether a host is to be asked for another key: once.
func (p *newHostKeys) ask(host string) bool {
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

func hostKeyError(host string, port int, key ssh.PublicKey, err error) error {
	if err == nil {
		return nil
	}
	e := &HostKeyError{Host: host, Port: port, Key: key, Err: err}
	if fault, ok := errors.AsType[*knownhosts.KeyError](err); ok {
		e.Known = fault.Retry
	}
	return e
}

type ignoreHostKeys struct{}

func (ignoreHostKeys) Algorithms(string, int) []string        { return nil }
func (ignoreHostKeys) Check(string, int, ssh.PublicKey) error { return nil }
