package sshconfig

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"

	"fleetssh"
	"fleetssh/internal/knownhosts"
)

// policyKey says which host keys are trusted. Hosts with the same share one policy:
// its files are read once.
type policyKey struct {
	accept       bool
	user, global string // files, separated by NUL
}

// hostKeys returns whom to trust, nil for the default of fleetssh. given, if not nil,
// is what the caller has chosen.
func (f *File) hostKeys(s *Settings, given fleetssh.HostKeyPolicy) (fleetssh.HostKeyPolicy, error) {
	policy := given
	if policy == nil {
		var err error
		if policy, err = f.trusted(s); err != nil {
			return nil, err
		}
	}
	l := s.first(keyHostKeyAlgorithms)
	if l == nil || !orderedByKnown(l.values[0]) {
		return policy, nil
	}
	if policy == nil {
		var err error
		if policy, err = f.policy(policyKey{}); err != nil {
			return nil, err
		}
	}
	return &reordered{policy, l.values[0]}, nil
}

// trusted returns the policy of StrictHostKeyChecking and the known_hosts files.
func (f *File) trusted(s *Settings) (fleetssh.HostKeyPolicy, error) {
	key := policyKey{accept: s.acceptsNew()}
	if s.first(keyUserKnownHosts) != nil || s.first(keyGlobalKnownHosts) != nil {
		user := []string{os.DevNull} // of a user without a home directory
		if named := s.strings(keyUserKnownHosts); len(named) > 0 || f.local.home != "" {
			user = filesOr(named, filepath.Join(f.local.home, ".ssh"), "known_hosts", "known_hosts2")
		}
		global := filesOr(s.strings(keyGlobalKnownHosts), f.local.systemDir, "ssh_known_hosts", "ssh_known_hosts2")
		key.user, key.global = strings.Join(user, "\x00"), strings.Join(global, "\x00")
	} else if !key.accept {
		return nil, nil
	}
	policy, err := f.policy(key)
	if err != nil {
		return nil, fmt.Errorf("host %s: %w", s.Alias, err)
	}
	return policy, nil
}

// acceptsNew reports whether the key of an unknown host is accepted.
func (s *Settings) acceptsNew() bool {
	strict := s.one(keyStrict)
	return strict == "accept-new" || strict == "no"
}

// filesOr returns the files that are named, or the default ones. "none" is written as
// the null device, so that it is not taken for the default.
func filesOr(named []string, dir string, defaults ...string) []string {
	switch {
	case len(named) == 0:
		for _, name := range defaults {
			named = append(named, filepath.Join(dir, name))
		}
	case named[0] == "none":
		named = []string{os.DevNull}
	}
	return named
}

// policy returns the one policy of a kind.
func (f *File) policy(key policyKey) (fleetssh.HostKeyPolicy, error) {
	f.mu.Lock()
	policy := f.policies[key]
	f.mu.Unlock()
	if policy != nil {
		return policy, nil
	}
	policy, err := newPolicy(key)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if first := f.policies[key]; first != nil {
		return first, nil // somebody else was faster
	}
	if f.policies == nil {
		f.policies = make(map[policyKey]fleetssh.HostKeyPolicy)
	}
	f.policies[key] = policy
	return policy, nil
}

func newPolicy(key policyKey) (fleetssh.HostKeyPolicy, error) {
	switch {
	case key.user == "" && key.accept:
		return fleetssh.AcceptNewHostKeys("")
	case key.user == "":
		return fleetssh.KnownHosts()
	}
	user, global := strings.Split(key.user, "\x00"), strings.Split(key.global, "\x00")
	all := existing(slices.Concat(user, global))
	known, err := fleetssh.KnownHosts(all...)
	if !key.accept || err != nil {
		return known, err
	}
	if user[0] == os.DevNull {
		return &acceptNew{HostKeyPolicy: known}, nil
	}
	added, err := fleetssh.AcceptNewHostKeys(user[0])
	if err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(all, func(file string) bool { return file != user[0] && file != os.DevNull }) {
		return added, nil // there is no other file
	}
	return &acceptNew{known, added}, nil
}

// existing returns the files that exist, and the null device if there is none:
// without files, KnownHosts would read the default ones.
func existing(files []string) []string {
	files = slices.DeleteFunc(files, func(file string) bool {
		_, err := os.Stat(file)
		return errors.Is(err, fs.ErrNotExist)
	})
	if len(files) == 0 {
		return []string{os.DevNull}
	}
	return files
}

// acceptNew trusts what is in several files, and the first key of a host that none of
// them lists.
type acceptNew struct {
	fleetssh.HostKeyPolicy                        // of all files
	added                  fleetssh.HostKeyPolicy // adds to the first; nil if keys are kept nowhere
}

// Check implements [fleetssh.HostKeyPolicy].
func (p *acceptNew) Check(host string, port int, key ssh.PublicKey) error {
	err := p.HostKeyPolicy.Check(host, port, key)
	fault, ok := errors.AsType[*knownhosts.KeyError](err)
	if !ok || fault.Reason != knownhosts.Unknown {
		return err
	}
	if p.added == nil {
		return nil
	}
	return p.added.Check(host, port, key)
}

// reordered is a policy with a HostKeyAlgorithms that adds to the default algorithms
// or takes from them. What is known for a host still comes first.
type reordered struct {
	fleetssh.HostKeyPolicy
	value string
}

// Algorithms implements [fleetssh.HostKeyPolicy].
func (p *reordered) Algorithms(host string, port int) []string {
	known := p.HostKeyPolicy.Algorithms(host, port)
	if known == nil {
		known = plainHostKeys()
	}
	allowed, _ := hostKeySuite.wanted(p.value)
	if name, ok := strings.CutPrefix(p.value, "-"); ok {
		return slices.DeleteFunc(slices.Clone(known), func(a string) bool { return matchesList(name, a) })
	}
	// Those that are added stand behind their relatives: a key of RSA that is
	// known is asked for with SHA-1 before a key of another type is.
	list := slices.Clone(known)
	for _, a := range allowed {
		if slices.Contains(known, a) || slices.Contains(hostKeySuite.preferred, a) {
			continue
		}
		at := len(list)
		for i, k := range list {
			if keyType(k) == keyType(a) {
				at = i + 1
			}
		}
		list = slices.Insert(list, at, a)
	}
	return list
}

// plainHostKeys are the algorithms to ask a host for of which nothing is known.
func plainHostKeys() []string {
	return slices.DeleteFunc(slices.Clone(hostKeySuite.preferred), func(a string) bool { return strings.Contains(a, "-cert-") })
}

// keyType returns the type of the keys that an algorithm is for: three are for RSA.
func keyType(algorithm string) string {
	switch algorithm {
	case ssh.KeyAlgoRSASHA256, ssh.KeyAlgoRSASHA512:
		return ssh.KeyAlgoRSA
	case ssh.CertAlgoRSASHA256v01, ssh.CertAlgoRSASHA512v01:
		return ssh.CertAlgoRSAv01
	}
	return algorithm
}
