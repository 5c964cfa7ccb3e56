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

// policyKey describes which host keys are trusted. Hosts with the same key share one policy, so
// that files are read once.
type policyKey struct {
	unknown fleetssh.UnknownHosts
	hash    bool
	files   string // separated by NUL; empty: the default files
	addTo   string // empty: the default file
}

// KnownHostsFiles returns the known_hosts files that ssh reads for a host: those of
// UserKnownHostsFile, the first of which ssh adds keys to, and those of GlobalKnownHostsFile.
// "none" becomes [os.DevNull]. KnownHostsFiles returns nil if the configuration sets neither
// keyword.
func (s *Settings) KnownHostsFiles() []string {
	if s.first(keyUserKnownHosts) == nil && s.first(keyGlobalKnownHosts) == nil {
		return nil
	}
	user := []string{os.DevNull} // if the user has no home directory
	if named := s.strings(keyUserKnownHosts); len(named) > 0 || s.local.home != "" {
		user = filesOr(named, filepath.Join(s.local.home, ".ssh"), "known_hosts", "known_hosts2")
	}
	global := filesOr(s.strings(keyGlobalKnownHosts), s.local.systemDir, "ssh_known_hosts", "ssh_known_hosts2")
	return slices.Concat(user, global)
}

// hostKeys returns the host key policy, nil for the default of fleetssh.
func (f *File) hostKeys(s *Settings) (fleetssh.HostKeyPolicy, error) {
	key := policyKey{unknown: s.unknownHosts(), hash: s.one(keyHashKnownHosts) == "yes"}
	if files := s.KnownHostsFiles(); files != nil {
		key.files, key.addTo = strings.Join(files, "\x00"), files[0]
	} else if key.unknown == fleetssh.AskUnknown && !key.hash {
		return nil, nil // the default
	}
	policy := f.policy(key)
	if err := policy.Load(); err != nil {
		return nil, fmt.Errorf("host %s: %w", s.Alias, err)
	}
	return policy, nil
}

// unknownHosts returns what to do with unknown hosts.
func (s *Settings) unknownHosts() fleetssh.UnknownHosts {
	switch s.one(keyStrict) {
	case "accept-new":
		return fleetssh.AddUnknown
	case "no":
		return fleetssh.AddUnknownIfPossible
	case "yes":
		return fleetssh.RefuseUnknown
	}
	return fleetssh.AskUnknown
}

// filesOr returns the named files, or the default files. "none" becomes the null device, because
// no files would mean the default files.
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
func (f *File) policy(key policyKey) *fleetssh.KnownHosts {
	f.mu.Lock()
	defer f.mu.Unlock()
	policy := f.policies[key]
	if policy == nil {
		policy = &fleetssh.KnownHosts{Unknown: key.unknown, Hash: key.hash, AddTo: key.addTo, SkipUnreadable: true}
		if key.files != "" {
			policy.Files = strings.Split(key.files, "\x00")
		}
		if f.policies == nil {
			f.policies = make(map[policyKey]*fleetssh.KnownHosts)
		}
		f.policies[key] = policy
	}
	return policy
}

// keyCommandTokens are the tokens of KnownHostsCommand that [fleetssh.HostConfig] replaces.
const keyCommandTokens = "fHIKt"

// knownHostsCommand returns the words of KnownHostsCommand, in the form of HostConfig.
func (t *tokens) knownHostsCommand(text string) ([]string, error) {
	var words []string
	for text = strings.TrimLeft(text, " \t"); text != ""; text = strings.TrimLeft(text, " \t") {
		word, n, err := cutWord(text)
		if err != nil {
			return nil, err
		}
		text = text[n:]
		word, err = expandPercent(strings.ReplaceAll(word, "%%", "%%%%"), func(c byte) (string, error) {
			if strings.IndexByte(keyCommandTokens, c) >= 0 {
				return "%" + string(c), nil
			}
			value, err := t.expand("%" + string(c))
			if errors.Is(err, errUnknownToken) {
				err = errUnknownToken
			}
			return strings.ReplaceAll(value, "%", "%%"), err
		})
		if err != nil {
			return nil, err
		}
		words = append(words, word)
	}
	if len(words) == 0 || !filepath.IsAbs(words[0]) {
		return nil, errors.New("the program needs an absolute path")
	}
	return words, nil
}
