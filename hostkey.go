package fleetssh

import (
	"cmp"
	"errors"
	"fmt"
	"path/filepath"

	"golang.org/x/crypto/ssh"

	"fleetssh/internal/account"
	"fleetssh/internal/dial"
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
// Without files it reads the user's and the system's, as far as they can be read. They
// are read once, by this call. A line that cannot be read is passed over.
//
// Matching is that of OpenSSH: see sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT".
func KnownHosts(files ...string) (HostKeyPolicy, error) {
	if len(files) == 0 {
		return NewKnownHosts(KnownHostsOptions{})
	}
	db := new(knownhosts.DB)
	for _, file := range files {
		if err := db.ReadFile(account.Expand(file)); err != nil {
			return nil, fmt.Errorf("known hosts: %w", err)
		}
	}
	return hostKeyFiles{&knownhosts.Policy{DB: db}}, nil
}

// AcceptNewHostKeys trusts a host that the known_hosts file does not list, and
// adds it there. A key that has changed is still refused. An empty name means
// the user's file; the system's are read too then. The file is made if it is
// missing. Many goroutines and processes may add to the same file at once.
func AcceptNewHostKeys(file string) (HostKeyPolicy, error) {
	if file == "" {
		return NewKnownHosts(KnownHostsOptions{Unknown: AddUnknown})
	}
	return NewKnownHosts(KnownHostsOptions{Unknown: AddUnknown, Files: []string{file}})
}

// UnknownHosts says what becomes of a host that no known_hosts file lists. A host that
// is listed with another key, or a revoked one, is refused in any case.
type UnknownHosts int

const (
	// RefuseUnknown refuses it.
	RefuseUnknown UnknownHosts = iota

	// AddUnknown trusts the key that it shows first and adds it to a file, as ssh does
	// with StrictHostKeyChecking accept-new. A host that cannot be added is refused.
	AddUnknown

	// AddUnknownIfPossible is AddUnknown, but a host that cannot be added is trusted all
	// the same, with a warning (see [Login]), as with StrictHostKeyChecking no. Its key
	// is remembered for as long as the policy is used.
	AddUnknownIfPossible
)

// KnownHostsOptions describe a policy that goes by known_hosts files. The zero value is
// that of [KnownHosts] without files.
type KnownHostsOptions struct {
	// Files are the files to read. As for ssh, one that is missing, cannot be read, or
	// is a folder, is passed over: what it would say is not known then. None means the
	// user's and the system's.
	Files []string

	// Unknown says what becomes of hosts that are not listed.
	Unknown UnknownHosts

	// AddTo is the file that hosts are added to. Empty means the first of Files.
	// [os.DevNull] means that they are trusted and kept nowhere.
	AddTo string

	// Hash hashes the names of hosts that are added, as HashKnownHosts of ssh.
	Hash bool
}

// NewKnownHosts makes a policy. It reads the files once. The error says that there is no
// home directory, and so no file to add hosts to.
func NewKnownHosts(o KnownHostsOptions) (HostKeyPolicy, error) {
	files := o.Files
	if len(files) == 0 {
		if files = defaultKnownHosts(); len(files) == len(systemKnownHosts) && o.AddTo == "" && o.Unknown != RefuseUnknown {
			return nil, errors.New("no home directory to keep known_hosts in")
		}
	}
	p := &knownhosts.Policy{
		DB:        &knownhosts.DB{Hash: o.Hash},
		AcceptNew: o.Unknown != RefuseUnknown, Lenient: o.Unknown == AddUnknownIfPossible, File: account.Expand(cmp.Or(o.AddTo, files[0])),
	}
	for _, file := range files {
		p.DB.TryFile(account.Expand(file))
	}
	return hostKeyFiles{p}, nil
}

// InsecureIgnoreHostKeys trusts every server, an attacker's too. Only keys that
// HostConfig.RevokedHostKeys lists, and such as are shorter than its Algorithms allow,
// are refused.
func InsecureIgnoreHostKeys() HostKeyPolicy { return ignoreHostKeys{} }

// KnownHostsFiles returns the files that [KnownHosts] reads if it is given these names. Without
// names these are the user's files, if there is a home directory, and then the system's. They
// need not exist.
func KnownHostsFiles(named ...string) []string {
	if len(named) == 0 {
		return defaultKnownHosts()
	}
	files := make([]string, len(named))
	for i, name := range named {
		files[i] = account.Expand(name)
	}
	return files
}

func defaultKnownHosts() []string {
	var files []string
	if home, err := account.Home(); err == nil {
		files = append(files, filepath.Join(home, ".ssh", "known_hosts"), filepath.Join(home, ".ssh", "known_hosts2"))
	}
	return append(files, systemKnownHosts...)
}

// hostKeyFiles is the policy of known_hosts files.
type hostKeyFiles struct{ policy *knownhosts.Policy }

func (p hostKeyFiles) Algorithms(host string, port int) []string {
	return p.policy.DB.Algorithms(host, port)
}

func (p hostKeyFiles) Check(host string, port int, key ssh.PublicKey) error {
	_, err := p.policy.Check(nil, host, port, key)
	if err == nil {
		return nil
	}
	return publicError(dial.KeyFailure(host, port, key, err))
}

type ignoreHostKeys struct{}

func (ignoreHostKeys) Algorithms(string, int) []string        { return nil }
func (ignoreHostKeys) Check(string, int, ssh.PublicKey) error { return nil }

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
