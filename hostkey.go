package fleetssh

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"sync"

	"golang.org/x/crypto/ssh"

	"fleetssh/internal/account"
	"fleetssh/internal/dial"
	"fleetssh/internal/knownhosts"
)

// HostKeyPolicy decides whether to trust a server: [KnownHosts], [InsecureIgnoreHostKeys], or
// a type of your own.
type HostKeyPolicy interface {
	// Algorithms returns the host key algorithms to ask a host for, most wanted first:
	// those of the keys already known for it. Nil means any.
	Algorithms(host string, port int) []string

	// Check returns nil if key may be trusted for host, else a [*HostKeyError]. Many
	// goroutines call it at once.
	Check(host string, port int, key ssh.PublicKey) error
}

// KnownHosts is a [HostKeyPolicy] that trusts the hosts listed in known_hosts files, and with
// Unknown also new ones, which it adds to a file. A host that is listed with another key, or
// with a revoked one, is always refused. The zero value goes by the user's and the system's
// files, and so does a HostConfig without a policy. Matching is that of OpenSSH: see sshd(8),
// "SSH_KNOWN_HOSTS FILE FORMAT". A line that cannot be parsed is skipped.
//
// The files are read once, when the policy is first used or by Load. Share one policy among
// all hosts: set the fields, then use a pointer, from as many goroutines as you like. A
// KnownHosts must not be copied or changed after its first use. To read the files again, make
// a new one.
type KnownHosts struct {
	// Files are the files to read, with "~/" for the home directory. None means the user's
	// and the system's, as far as they can be read. A file named here must be readable,
	// unless SkipUnreadable is set; the one that hosts are added to may be missing.
	Files []string

	// SkipUnreadable skips files that are missing, cannot be read, or are directories, as
	// ssh does. The error for an unknown host names those that exist.
	SkipUnreadable bool

	// Unknown says what to do with hosts that are not listed. Zero means RefuseUnknown.
	Unknown UnknownHosts

	// AddTo is the file that hosts are added to, under a lock: many goroutines and processes
	// may add to the same file at once. It is created if it is missing. Empty means the first
	// of Files. [os.DevNull] means that they are trusted and kept nowhere.
	AddTo string

	// Hash hashes the names of hosts that are added, as HashKnownHosts of ssh.
	Hash bool

	once   sync.Once
	policy *knownhosts.Policy
	err    error // why there is no policy
}

// UnknownHosts says what [KnownHosts] does with a host that no file lists.
type UnknownHosts int

const (
	// RefuseUnknown refuses the host.
	RefuseUnknown UnknownHosts = iota

	// AddUnknown trusts the first key that the host shows and adds it to a file, as ssh does
	// with StrictHostKeyChecking accept-new. A host that cannot be added is refused.
	AddUnknown

	// AddUnknownIfPossible is AddUnknown, except that a host that cannot be added is trusted
	// with a warning (see [Login]), as with StrictHostKeyChecking no. The policy remembers
	// its key.
	AddUnknownIfPossible
)

// Load reads the files, if that has not been done. The error, which every later call returns
// too, says which file cannot be read, or that there is no home directory and so no file to
// add hosts to. [Dial] and the methods of [ParallelClient] return it in a [*ConfigError]
// before they contact a host.
func (k *KnownHosts) Load() error {
	_, err := k.load()
	return err
}

// Algorithms implements [HostKeyPolicy].
func (k *KnownHosts) Algorithms(host string, port int) []string {
	policy, err := k.load()
	if err != nil {
		return nil // Check says why
	}
	return policy.DB.Algorithms(host, port)
}

// Check implements [HostKeyPolicy].
func (k *KnownHosts) Check(host string, port int, key ssh.PublicKey) error {
	policy, err := k.load()
	if err == nil {
		_, err = policy.Check(nil, host, port, key)
	}
	return hostKeyError(host, port, key, err)
}

// Paths returns the paths of the files that the policy reads, which need not exist: Files,
// or else the user's, if there is a home directory, and the system's.
func (k *KnownHosts) Paths() []string {
	if len(k.Files) == 0 {
		return append(userKnownHosts(), systemKnownHosts...)
	}
	files := make([]string, len(k.Files))
	for i, name := range k.Files {
		files[i] = account.Expand(name)
	}
	return files
}

// systemKnownHosts are read after the user's files, if they exist.
var systemKnownHosts = []string{"/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2"}

// userKnownHosts returns the user's files, none without a home directory.
func userKnownHosts() []string {
	home, err := account.Home()
	if err != nil {
		return nil
	}
	return []string{filepath.Join(home, ".ssh", "known_hosts"), filepath.Join(home, ".ssh", "known_hosts2")}
}

// load returns the policy, which it reads from the files the first time.
func (k *KnownHosts) load() (*knownhosts.Policy, error) {
	k.once.Do(func() { k.policy, k.err = k.read() })
	return k.policy, k.err
}

func (k *KnownHosts) read() (*knownhosts.Policy, error) {
	adds := k.Unknown != RefuseUnknown
	if adds && k.AddTo == "" && len(k.Files) == 0 && userKnownHosts() == nil {
		return nil, errors.New("known hosts: no home directory to keep known_hosts in")
	}
	paths := k.Paths()
	p := &knownhosts.Policy{
		DB:        &knownhosts.DB{Hash: k.Hash},
		AcceptNew: adds, Lenient: k.Unknown == AddUnknownIfPossible, File: account.Expand(cmp.Or(k.AddTo, paths[0])),
	}
	for _, path := range paths {
		if k.SkipUnreadable || len(k.Files) == 0 {
			p.DB.TryFile(path)
			continue
		}
		err := p.DB.ReadFile(path)
		if adds && path == p.File && errors.Is(err, fs.ErrNotExist) {
			err = nil // it is created when the first host is added
		}
		if err != nil {
			return nil, fmt.Errorf("known hosts: %w", err)
		}
	}
	return p, nil
}

// hostKeyError returns the error for a key that is not trusted, nil for one that is.
func hostKeyError(host string, port int, key ssh.PublicKey, err error) error {
	if err == nil {
		return nil
	}
	return publicError(dial.KeyFailure(host, port, key, err))
}

// InsecureIgnoreHostKeys is a [HostKeyPolicy] that trusts every server, also an attacker's. It
// still refuses keys that HostConfig.RevokedHostKeys lists, and those shorter than Algorithms
// of the HostConfig allow.
type InsecureIgnoreHostKeys struct{}

// Algorithms implements [HostKeyPolicy].
func (InsecureIgnoreHostKeys) Algorithms(string, int) []string { return nil }

// Check implements [HostKeyPolicy].
func (InsecureIgnoreHostKeys) Check(string, int, ssh.PublicKey) error { return nil }

// commandFault says why KnownHostsCommand cannot be used.
func (h *HostConfig) commandFault() string {
	if len(h.KnownHostsCommand) == 0 {
		return ""
	}
	err := knownhosts.Command(h.KnownHostsCommand).Check(h.Host, h.port())
	_, byFiles := h.HostKeys.(*KnownHosts)
	switch {
	case err != nil:
		return err.Error()
	case h.HostKeys != nil && !byFiles:
		return "it goes with known_hosts files only, and HostKeys is another policy"
	}
	return ""
}
