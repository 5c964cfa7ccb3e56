package fleetssh

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
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
	// Algorithms returns the host key algorithms to request from a host, in order of preference.
	// These are the algorithms of the keys known for it. Nil means any.
	Algorithms(host string, port int) []string

	// Check returns nil if key can be trusted for host, and a [*HostKeyError] otherwise. Many
	// goroutines call it at once.
	Check(host string, port int, key ssh.PublicKey) error
}

// KnownHosts is a [HostKeyPolicy] that trusts the hosts listed in known_hosts files. Depending on
// Unknown, it also trusts new hosts and adds them to a file. It always refuses a host that shows
// another key than the listed one, or a revoked key. The zero value uses the user's and the system's
// files, as does a HostConfig without a policy. It matches names as OpenSSH does: see sshd(8),
// "SSH_KNOWN_HOSTS FILE FORMAT". It skips lines that cannot be parsed.
//
// The files are read once, at the first use of the policy or by Load. All hosts can share one
// policy: set the fields, then use a pointer, from any number of goroutines. A KnownHosts must not be
// copied or changed after its first use. To read the files again, create a new one.
type KnownHosts struct {
	// Files are the files to read; "~/" stands for the home directory. If Files is empty, the user's
	// and the system's files are read, and unreadable ones are skipped. A file named here must be
	// readable unless SkipUnreadable is set; only the file that hosts are added to may be missing.
	Files []string

	// SkipUnreadable skips files that are missing, cannot be read, or are directories, as ssh does.
	// The error for an unknown host names the skipped files that exist.
	SkipUnreadable bool

	// Unknown says how to treat hosts that are not listed. Zero means RefuseUnknown.
	Unknown UnknownHosts

	// AddTo is the file that new hosts are added to. It is locked while a host is added, so several
	// goroutines and processes may add to the same file. It is created if it is missing. Empty means
	// the first of Files. [os.DevNull] means that new hosts are trusted but not recorded.
	AddTo string

	// Hash hashes the names of added hosts, as ssh does with HashKnownHosts.
	Hash bool

	once   sync.Once
	policy *knownhosts.Policy
	err    error // why there is no policy
}

// UnknownHosts says how [KnownHosts] treats a host that no file lists.
type UnknownHosts int

const (
	// RefuseUnknown refuses the host.
	RefuseUnknown UnknownHosts = iota

	// AddUnknown trusts the first key that the host shows and adds it to a file, as ssh does with
	// StrictHostKeyChecking accept-new. It refuses a host that it cannot add.
	AddUnknown

	// AddUnknownIfPossible is like AddUnknown, but trusts a host that it cannot add, with a warning
	// (see [Login]), as ssh does with StrictHostKeyChecking no. The policy remembers the key.
	AddUnknownIfPossible

	// AskUnknown asks HostConfig.ConfirmHostKey, as ssh does with StrictHostKeyChecking ask, and adds
	// the host if the answer is yes. It refuses the host if the answer is no, if ConfirmHostKey is
	// nil, and in Check, which asks nothing.
	AskUnknown
)

// NewHostKey is the key of a host that is not known: see HostConfig.ConfirmHostKey.
type NewHostKey struct {
	Host string // the name of the host, as in errors

	// Name and Port are the entry of known_hosts files that the key belongs to: the name and port of
	// the host, or HostKeyAlias and 22.
	Name string
	Port int

	Key  ssh.PublicKey // may be a certificate of an unknown authority: the key in it is meant
	File string        // the file that the key is added to; empty: it is remembered, but not saved
}

// Load reads the files unless they have been read. The error says which file cannot be read, or that
// hosts cannot be added because there is no home directory. Every later call returns the same error.
// [Dial] and the methods of [ParallelClient] return it in a [*ConfigError] before they contact a
// host.
func (k *KnownHosts) Load() error {
	_, err := k.load()
	return err
}

// Algorithms implements [HostKeyPolicy].
func (k *KnownHosts) Algorithms(host string, port int) []string {
	policy, err := k.load()
	if err != nil {
		return nil // Check returns the error
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

// Paths returns the paths of the files that the policy reads: Files, or if that is empty, the user's
// files (if there is a home directory) and the system's. The files need not exist.
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

// userKnownHosts returns the user's files, or none without a home directory.
func userKnownHosts() []string {
	home, err := account.Home()
	if err != nil {
		return nil
	}
	return []string{filepath.Join(home, ".ssh", "known_hosts"), filepath.Join(home, ".ssh", "known_hosts2")}
}

// load returns the policy. It reads the files at the first call.
func (k *KnownHosts) load() (*knownhosts.Policy, error) {
	k.once.Do(func() { k.policy, k.err = k.read() })
	return k.policy, k.err
}

func (k *KnownHosts) read() (*knownhosts.Policy, error) {
	adds := k.Unknown == AddUnknown || k.Unknown == AddUnknownIfPossible
	if adds && k.AddTo == "" && len(k.Files) == 0 && userKnownHosts() == nil {
		return nil, errors.New("known hosts: no home directory to keep known_hosts in")
	}
	paths := k.Paths()
	p := &knownhosts.Policy{DB: &knownhosts.DB{Hash: k.Hash}, AcceptNew: adds, Lenient: k.Unknown == AddUnknownIfPossible}
	switch {
	case k.AddTo != "":
		p.File = account.Expand(k.AddTo)
	case len(k.Files) > 0 || userKnownHosts() != nil:
		p.File = paths[0]
	default: // there is no home directory, and the first of paths is the system's
		p.File = os.DevNull
	}
	for _, path := range paths {
		if k.SkipUnreadable || len(k.Files) == 0 {
			p.DB.TryFile(path)
			continue
		}
		err := p.DB.ReadFile(path)
		if k.Unknown != RefuseUnknown && path == p.File && errors.Is(err, fs.ErrNotExist) {
			err = nil // it is created when the first host is added
		}
		if err != nil {
			return nil, fmt.Errorf("known hosts: %w", err)
		}
	}
	return p, nil
}

// hostKeyError returns the error for an untrusted key, and nil if err is nil.
func hostKeyError(host string, port int, key ssh.PublicKey, err error) error {
	if err == nil {
		return nil
	}
	return publicError(dial.KeyFailure(host, port, key, err))
}

// InsecureIgnoreHostKeys is a [HostKeyPolicy] that trusts every server, including an attacker's. Keys
// that HostConfig.RevokedHostKeys lists or that are shorter than HostConfig.Algorithms allows are
// still refused.
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
		return "it applies only to known_hosts files, and HostKeys is another policy"
	}
	return ""
}
