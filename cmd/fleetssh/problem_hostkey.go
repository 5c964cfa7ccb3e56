package main

import (
	"cmp"
	"errors"
	"net"
	"slices"
	"strconv"

	"golang.org/x/crypto/ssh"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/selection"
	"fleetssh/hostset"
	"fleetssh/internal/knownhosts"
)

// keyProblem is what is wrong with the key of a host, or of a hop.
type keyProblem struct {
	reason knownhosts.Reason
	name   string   // of the host, as -w takes it
	hop    string   // the same, if it is a hop
	shown  string   // the key
	more   []string // lines that say more: which key is known, and where
	full   bool     // the host could not be added: the file cannot be written
}

// hostKeyProblem says what is wrong with a host key. For a changed one the hint begins
// with who should be asked: it may be an attack.
func hostKeyProblem(e *fleetssh.HostKeyError, host *fleetssh.HostConfig) problem {
	p := problem{kind: "host_key", phase: "host_key", reason: e.Err.Error(), tries: 1}
	fault, ok := errors.AsType[*knownhosts.KeyError](e.Err)
	if !ok || e.Key == nil {
		return p
	}
	k := &keyProblem{reason: fault.Reason, name: cmp.Or(host.Alias, host.Host), shown: keyText(plainKey(e.Key))}
	if port := selection.PortOf(host); host.Alias == "" && port != 22 {
		k.name = net.JoinHostPort(host.Host, strconv.Itoa(port))
	}
	if e.Port != 0 && host.Port == 0 && e.Port != 22 && host.Alias == "" { // a hop, of which only the name is known
		k.name = net.JoinHostPort(host.Host, strconv.Itoa(e.Port))
	}
	if cert, ok := e.Key.(*ssh.Certificate); ok {
		k.shown += ", in a certificate signed by " + keyText(cert.SignatureKey)
	}
	for _, known := range fault.Known {
		word := "known is"
		if fault.Reason != knownhosts.Changed {
			word = "listed is"
		}
		k.more = append(k.more, word+" "+known.String())
	}
	if fault.Err != nil && (fault.Reason == knownhosts.Unknown || fault.Reason == knownhosts.Changed) {
		k.more = append(k.more, "its certificate does not count: "+fault.Err.Error())
	}
	switch fault.Reason {
	case knownhosts.Unknown:
		p.reason = "the host key is not known"
		for _, file := range fault.Unread {
			k.more = append(k.more, "not read: "+file)
		}
		if fault.NotAdded != nil {
			k.full = true
			p.reason = "the host is new, and its key cannot be added to the known ones: " + fault.NotAdded.Error()
		}
	case knownhosts.Changed:
		p.reason = "the host key has changed"
	case knownhosts.Revoked:
		p.reason = "the host key is revoked"
		if fault.Err != nil {
			p.reason += " (" + fault.Err.Error() + ")"
		}
	case knownhosts.BadCertificate:
		p.reason = "the host certificate is not valid: " + fault.Err.Error()
	case knownhosts.Weak:
		p.reason = "the host key is too weak: " + fault.Err.Error()
	}
	p.key = k
	p.detail = append([]string{"it shows " + k.shown}, k.more...)
	p.hint = trustHint(nil, k, []string{k.name})
	return p
}

// keyDetail returns what the hosts of a group show, and what is known of them. Those of
// which the same is to be said stand together.
func (t *tally) keyDetail(g *failureGroup) []string {
	type said struct {
		text  string
		hosts []string
	}
	var shown, more []*said
	note := func(list *[]*said, text, label string) {
		for _, s := range *list {
			if s.text == text {
				s.hosts = append(s.hosts, label)
				return
			}
		}
		*list = append(*list, &said{text, []string{label}})
	}
	for _, r := range g.results {
		label := t.hosts[r.index].Label
		if r.problem.key.hop != "" {
			label = r.problem.key.hop
		}
		if line := t.hosts[r.index].Lookup; line != "" && r.problem.key.reason == knownhosts.Unknown {
			note(&more, line, label)
		}
		if len(shown) <= maxKeyLines {
			note(&shown, r.problem.key.shown, label)
		}
		for _, line := range r.problem.key.more {
			if len(more) <= maxKeyLines {
				note(&more, line, label)
			}
		}
	}
	var lines []string
	for _, s := range shown {
		s.hosts = slices.Compact(s.hosts)
		set := hostset.Of(s.hosts...).String()
		switch {
		case len(s.hosts) >= minSame:
			lines = append(lines, sameKeyText(set, s.text))
		case len(s.hosts) == 1:
			lines = append(lines, set+" shows "+s.text)
		default:
			lines = append(lines, set+" show "+s.text)
		}
	}
	lines = cutLines(lines)
	var known []string
	for _, s := range more {
		known = append(known, s.text)
	}
	return append(lines, cutLines(known)...)
}

// maxKeyLines is how many lines about keys are shown of a group of hosts.
const maxKeyLines = 8

func cutLines(lines []string) []string {
	if len(lines) > maxKeyLines {
		return append(lines[:maxKeyLines], "and so on")
	}
	return lines
}

// minSame is how many hosts that show one key are worth a word.
const minSame = 3

// sameKeyText says what it may mean that several hosts show one key.
func sameKeyText(set, key string) string {
	return set + " show the same key, " + key + ": copies of one image, one host under several names, or somebody in between"
}

// keyHint returns the next step for the hosts of a group.
func (t *tally) keyHint(g *failureGroup) string {
	var names []string
	var flags *selection.Flags
	for _, r := range g.results {
		k := r.problem.key
		e := &t.hosts[r.index]
		flags = cmp.Or(flags, e.Flags)
		switch {
		case k.hop != "":
			if !slices.Contains(names, k.hop) {
				names = append(names, k.hop)
			}
		case e.Given != "":
			names = append(names, e.Given)
		default:
			names = append(names, k.name)
		}
	}
	k := g.first.problem.key
	if k.hop != "" && flags != nil {
		flags = &selection.Flags{Config: flags.Config, KnownHosts: flags.KnownHosts} // others are not for hops
	}
	return trustHint(flags, k, names)
}

// trustHint returns the next step for hosts with a problem of one kind, which were named with f.
// f may be nil.
func trustHint(f *selection.Flags, k *keyProblem, names []string) string {
	switch {
	case k.reason == knownhosts.Changed:
		return f.ReplaceHint(names, "")
	case k.full:
		return "make the file writable, name another one with --known-hosts FILE or -o UserKnownHostsFile=FILE, or trust whoever answers: --host-key insecure"
	case k.reason == knownhosts.Unknown:
		return f.TrustCommand(names) + " shows the keys and asks before it adds them; check them against fingerprints from whoever runs the " + selection.HostWord(names) + " (--fingerprints FILE)"
	case k.reason == knownhosts.Revoked:
		return "the key may be in other hands: ask who runs the " + selection.HostWord(names)
	}
	return ""
}
