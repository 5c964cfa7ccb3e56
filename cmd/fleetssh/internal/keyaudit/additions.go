package keyaudit

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/exit"
	"fleetssh/cmd/fleetssh/internal/results"
	"fleetssh/cmd/fleetssh/internal/selection"
	"fleetssh/hostset"
	"fleetssh/internal/knownhosts"
)

// refusals returns the verdicts about keys that the library refuses, by index.
func refusals(shown *fleetssh.ShownKeys) map[int]knownhosts.Verdict {
	var all map[int]knownhosts.Verdict
	for i, err := range shown.Refused {
		fault, ok := errors.AsType[*knownhosts.KeyError](err)
		if !ok {
			continue
		}
		v := knownhosts.Verdict{Standing: knownhosts.Banned, Lines: fault.Known, Err: fault.Err}
		if fault.Reason == knownhosts.Weak {
			v.Standing = knownhosts.TooWeak
		}
		if all == nil {
			all = make(map[int]knownhosts.Verdict)
		}
		all[i] = v
	}
	return all
}

// Addition is the keys to add to one file.
type Addition struct {
	selection.KeyFiles
	hosts []*Host
}

// Additions returns the chosen keys, by known_hosts file.
func (s *Audit) Additions() ([]Addition, error) {
	var all []Addition
	index := make(map[string]int)
	var nowhere []string
	for _, h := range s.Hosts {
		if len(h.take) == 0 {
			continue
		}
		if len(h.Files) == 0 || h.Files[0] == os.DevNull {
			nowhere = append(nowhere, h.label)
			continue
		}
		id := fmt.Sprintf("%q %v", h.Files, h.Hash)
		i, ok := index[id]
		if !ok {
			i = len(all)
			index[id] = i
			all = append(all, Addition{KeyFiles: h.KeyFiles})
		}
		all[i].hosts = append(all[i].hosts, h)
	}
	if nowhere != nil {
		return nil, exit.UsageError("--known-hosts FILE names one", "there is no file to add the keys of %s to: UserKnownHostsFile is none, or there is no home directory", hostset.Of(nowhere...))
	}
	return all, nil
}

// Question returns what would be added, and where, for the question to the user.
func Question(all []Addition) string {
	var parts []string
	for _, a := range all {
		keys := 0
		var replaced []string
		for _, h := range a.hosts {
			keys += len(h.take)
			if h.worst() == knownhosts.Mismatched {
				replaced = append(replaced, h.label)
			}
		}
		text := fmt.Sprintf("%s of %s to %s", CountKeys(keys), selection.CountHosts(len(a.hosts)), a.Files[0])
		if replaced != nil {
			text += ", replacing the known keys of " + hostset.Of(replaced...).String()
		}
		parts = append(parts, text)
	}
	return "add " + strings.Join(parts, ", and ")
}

// Accepted returns the keys to add to the file.
func (a *Addition) Accepted() []knownhosts.Accepted {
	all := make([]knownhosts.Accepted, len(a.hosts))
	for i, h := range a.hosts {
		all[i] = knownhosts.Accepted{Shown: h.Shown, Take: h.take, Replace: h.replace}
	}
	return all
}

// sameKeys returns lines about keys that at least [results.MinSame] hosts share.
func (s *Audit) sameKeys() []string {
	by := make(map[string][]string)
	var order []string
	for _, h := range s.Hosts {
		seen := make(map[string]bool)
		for i := range h.verdicts {
			v := &h.verdicts[i]
			id := results.KeyText(results.PlainKey(v.Key))
			if v.Standing == knownhosts.Listed || v.Standing == knownhosts.Certified || seen[id] {
				continue
			}
			seen[id] = true
			if by[id] == nil {
				order = append(order, id)
			}
			by[id] = append(by[id], h.label)
		}
	}
	var lines []string
	said := make(map[string]bool) // sets of hosts
	for _, id := range order {
		set := hostset.Of(by[id]...).String()
		if len(by[id]) < results.MinSame || said[set] {
			continue
		}
		said[set] = true
		lines = append(lines, results.SameKeyText(set, id))
	}
	return lines
}

// SaveScan writes the keys of hosts to a file that trust accept reads.
func SaveScan(file string, hosts []*Host) error {
	text := fmt.Appendf(nil, "# Keys that hosts have shown, by fleetssh trust scan, %s.\n# To trust those that are new: fleetssh trust accept FILE\n",
		time.Now().UTC().Format(time.RFC3339))
	for _, h := range hosts {
		var err error
		if text, err = knownhosts.AppendScan(text, h.Shown, h.verdicts); err != nil {
			return err
		}
	}
	return knownhosts.WriteFile(file, string(text))
}
