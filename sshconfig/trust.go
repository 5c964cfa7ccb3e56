package sshconfig

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"fleetssh"
)

// policyKey says which host keys are trusted. Hosts with the same share one policy:
// its files are read once.
type policyKey struct {
	unknown fleetssh.UnknownHosts
	hash    bool
	files   string // separated by NUL; empty: the default ones
	addTo   string // empty: the default one
}

// KnownHostsFiles returns the files of known hosts that ssh reads for a host: those of
// UserKnownHostsFile, of which the first is the one that ssh adds to, and of
// GlobalKnownHostsFile. It is nil if the configuration names none. Where a line says
// "none", it is [os.DevNull].
func (s *Settings) KnownHostsFiles() []string {
	if s.first(keyUserKnownHosts) == nil && s.first(keyGlobalKnownHosts) == nil {
		return nil
	}
	user := []string{os.DevNull} // of a user without a home directory
	if named := s.strings(keyUserKnownHosts); len(named) > 0 || s.local.home != "" {
		user = filesOr(named, filepath.Join(s.local.home, ".ssh"), "known_hosts", "known_hosts2")
	}
	global := filesOr(s.strings(keyGlobalKnownHosts), s.local.systemDir, "ssh_known_hosts", "ssh_known_hosts2")
	return slices.Concat(user, global)
}

// hostKeys returns whom to trust, nil for the default of fleetssh.
func (f *File) hostKeys(s *Settings) (fleetssh.HostKeyPolicy, error) {
	key := policyKey{unknown: s.unknownHosts(), hash: s.one(keyHashKnownHosts) == "yes"}
	if files := s.KnownHostsFiles(); files != nil {
		key.files, key.addTo = strings.Join(files, "\x00"), files[0]
	} else if key.unknown == fleetssh.RefuseUnknown {
		return nil, nil
	}
	policy, err := f.policy(key)
	if err != nil {
		return nil, fmt.Errorf("host %s: %w", s.Alias, err)
	}
	return policy, nil
}

// unknownHosts returns what becomes of a host that is not known.
func (s *Settings) unknownHosts() fleetssh.UnknownHosts {
	switch s.one(keyStrict) {
	case "accept-new":
		return fleetssh.AddUnknown
	case "no":
		return fleetssh.AddUnknownIfPossible
	}
	return fleetssh.RefuseUnknown
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
	o := fleetssh.KnownHostsOptions{Unknown: key.unknown, Hash: key.hash, AddTo: key.addTo}
	if key.files != "" {
		o.Files = strings.Split(key.files, "\x00")
	}
	policy, err := fleetssh.NewKnownHosts(o)
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

// listers are the tokens of KnownHostsCommand that [fleetssh.HostConfig] replaces.
const listers = "fHIKt"

// knownHostsCommand returns the words of KnownHostsCommand, as HostConfig takes them.
func (t *tokens) knownHostsCommand(text string) ([]string, error) {
	var words []string
	for text = strings.TrimLeft(text, " \t"); text != ""; text = strings.TrimLeft(text, " \t") {
		word, n, err := cutWord(text)
		if err != nil {
			return nil, err
		}
		text = text[n:]
		word, err = expandPercent(strings.ReplaceAll(word, "%%", "%%%%"), func(c byte) (string, error) {
			if strings.IndexByte(listers, c) >= 0 {
				return "%" + string(c), nil
			}
			value, err := t.expand("%" + string(c))
			if errors.Is(err, errNoToken) {
				err = errNoToken
			}
			return strings.ReplaceAll(value, "%", "%%"), err
		})
		if err != nil {
			return nil, err
		}
		words = append(words, word)
	}
	if len(words) == 0 || !filepath.IsAbs(words[0]) {
		return nil, errors.New("the program is not named by its absolute path")
	}
	return words, nil
}
