package results

import (
	"cmp"
	"errors"
	"net"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/crypto/ssh"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/fold"
	"fleetssh/cmd/fleetssh/internal/selection"
	"fleetssh/hostset"
	"fleetssh/internal/knownhosts"
)

// KeyProblem describes a problem with the key of a host, or of a hop.
type KeyProblem struct {
	reason    knownhosts.Reason
	Name      string   // of the host, as -w takes it
	Hop       string   // the same, if the problem is the hop's
	shown     string   // the key
	details   []string // which keys are known, and where
	cannotAdd bool     // the host is new, and its key cannot be added to known_hosts
}

// hostKeyProblem returns the problem with a host key. If the key has changed, the hint warns first,
// because it may be an attack.
func hostKeyProblem(e *fleetssh.HostKeyError, host *fleetssh.HostConfig) Problem {
	p := Problem{Kind: "host_key", Phase: "host_key", Reason: e.Err.Error(), Tries: 1}
	fault, ok := errors.AsType[*knownhosts.KeyError](e.Err)
	if !ok || e.Key == nil {
		return p
	}
	k := &KeyProblem{reason: fault.Reason, Name: cmp.Or(host.Alias, host.Host), shown: KeyText(PlainKey(e.Key))}
	if port := selection.PortOf(host); host.Alias == "" && port != 22 {
		k.Name = net.JoinHostPort(host.Host, strconv.Itoa(port))
	}
	if e.Port != 0 && host.Port == 0 && e.Port != 22 && host.Alias == "" { // a hop, only its name is known
		k.Name = net.JoinHostPort(host.Host, strconv.Itoa(e.Port))
	}
	if cert, ok := e.Key.(*ssh.Certificate); ok {
		k.shown += ", in a certificate signed by " + KeyText(cert.SignatureKey)
	}
	for _, known := range fault.Known {
		word := "known is"
		if fault.Reason != knownhosts.Changed {
			word = "listed is"
		}
		k.details = append(k.details, word+" "+known.String())
	}
	if fault.Err != nil && (fault.Reason == knownhosts.Unknown || fault.Reason == knownhosts.Changed) {
		k.details = append(k.details, "its certificate is not accepted: "+fault.Err.Error())
	}
	switch fault.Reason {
	case knownhosts.Unknown:
		p.Reason = "the host key is not known"
		for _, file := range fault.Unread {
			k.details = append(k.details, "not read: "+file)
		}
		if fault.NotAdded != nil {
			k.cannotAdd = true
			p.Reason = "the host is new, and its key cannot be added to known_hosts: " + fault.NotAdded.Error()
		}
	case knownhosts.Changed:
		p.Reason = "the host key has changed"
	case knownhosts.Revoked:
		p.Reason = "the host key is revoked"
		if fault.Err != nil {
			p.Reason += " (" + fault.Err.Error() + ")"
		}
	case knownhosts.BadCertificate:
		p.Reason = "the host certificate is not valid: " + fault.Err.Error()
	case knownhosts.Weak:
		p.Reason = "the host key is too weak: " + fault.Err.Error()
	}
	p.Key = k
	p.Detail = append([]string{"it shows " + k.shown}, k.details...)
	p.Hint = TrustHint(nil, k, []string{k.Name})
	return p
}

// keyDetail returns lines about the keys that the hosts of a group show, and about the known keys.
// Hosts with the same text share a line. The known key of a host whose key has changed stands below the
// new one.
func (t *Summary) keyDetail(g *Group) []string {
	var shown, more fold.Texts[string]
	changed := g.First.Problem.Key.reason == knownhosts.Changed
	for _, r := range g.results {
		k, label := r.Problem.Key, t.Hosts[r.Index].Label
		if k.Hop != "" {
			label = k.Hop
		}
		text := k.shown
		if changed {
			text = strings.Join(append([]string{text}, k.details...), "\n  ")
		}
		shown.Add(text, label)
		if line := t.Hosts[r.Index].IgnoredLookup; line != "" && k.reason == knownhosts.Unknown {
			more.Add(line, label)
		}
		if !changed {
			for _, line := range k.details {
				more.Add(line, label)
			}
		}
	}
	var lines []string
	for text, hosts := range shown.All() {
		key, rest, _ := strings.Cut(text, "\n")
		same := hostset.Of(hosts...)
		switch {
		case same.Len() >= MinSame:
			lines = append(lines, SameKeyText(same.String(), key))
		case same.Len() == 1:
			lines = append(lines, same.String()+" shows "+key)
		default:
			lines = append(lines, same.String()+" show "+key)
		}
		if rest != "" {
			lines = append(lines, strings.Split(rest, "\n")...)
		}
	}
	lines = cutLines(lines)
	var known []string
	for text := range more.All() {
		known = append(known, text)
	}
	return append(lines, cutLines(known)...)
}

// maxKeyLines is the largest number of lines about the keys of a group.
const maxKeyLines = 12

func cutLines(lines []string) []string {
	if len(lines) > maxKeyLines {
		return append(lines[:maxKeyLines], "and so on")
	}
	return lines
}

// MinSame is how many hosts must show the same key for a report.
const MinSame = 3

// SameKeyText returns the possible reasons why several hosts show the same key.
func SameKeyText(set, key string) string {
	return set + " show the same key, " + key + ": copies of one image, one host under several names, or a man-in-the-middle attack"
}

// keyHint returns the next step for the hosts of a group.
func (t *Summary) keyHint(g *Group) string {
	var names []string
	var flags *selection.Flags
	for _, r := range g.results {
		k := r.Problem.Key
		e := &t.Hosts[r.Index]
		flags = cmp.Or(flags, e.Flags)
		switch {
		case k.Hop != "":
			if !slices.Contains(names, k.Hop) {
				names = append(names, k.Hop)
			}
		case e.Given != "":
			names = append(names, e.Given)
		default:
			names = append(names, k.Name)
		}
	}
	k := g.First.Problem.Key
	if k.Hop != "" && flags != nil {
		flags = &selection.Flags{ExprFlags: selection.ExprFlags{Config: flags.Config}, KnownHosts: flags.KnownHosts} // the others do not apply to hops
	}
	return TrustHint(flags, k, names)
}

// TrustHint returns the next step for hosts with the same problem. f has the flags by which they were
// named; it may be nil.
func TrustHint(f *selection.Flags, k *KeyProblem, names []string) string {
	switch {
	case k.reason == knownhosts.Changed:
		return f.ReplaceHint(names, "")
	case k.cannotAdd:
		return "make the file writable, name another one with --known-hosts FILE or -o UserKnownHostsFile=FILE, or accept any key: --host-key insecure"
	case k.reason == knownhosts.Unknown:
		return f.TrustCommand(names) + " shows the keys and asks before it adds them; check them against fingerprints from the administrator of the " + selection.HostWord(names) + " (--fingerprints FILE)"
	case k.reason == knownhosts.Revoked:
		return "the key may be compromised: ask the administrator of the " + selection.HostWord(names)
	}
	return ""
}

// KeyText formats a key as ssh-keygen -l does.
func KeyText(key ssh.PublicKey) string {
	return key.Type() + " " + ssh.FingerprintSHA256(key)
}

// PlainKey returns the key in a certificate, or the key itself.
func PlainKey(key ssh.PublicKey) ssh.PublicKey {
	if cert, ok := key.(*ssh.Certificate); ok {
		return cert.Key
	}
	return key
}
