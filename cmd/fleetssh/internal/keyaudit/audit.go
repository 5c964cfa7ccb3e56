// Package keyaudit compares the keys that hosts show with the known ones. It finds out which are new,
// changed or revoked, and which may be added to which known_hosts file.
package keyaudit

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/display"
	"fleetssh/cmd/fleetssh/internal/exit"
	"fleetssh/cmd/fleetssh/internal/results"
	"fleetssh/cmd/fleetssh/internal/selection"
	"fleetssh/cmd/fleetssh/internal/termline"
	"fleetssh/hostset"
	"fleetssh/internal/knownhosts"
)

// Audit collects the verdicts about the keys of hosts, and shows them.
type Audit struct {
	screen   *termline.Screen
	warn     func(text, host string)
	Format   string
	Known    *selection.KnownHostsCache
	Summary  *results.Summary // the results of the scan
	Hosts    []*Host
	Flags    *selection.Flags
	ScanFile string // the file of a saved scan; empty: the hosts were scanned

	padding func(label string) string // returns the spaces after a label; nil: not known yet
}

// Host is a host with its keys and their verdicts.
type Host struct {
	knownhosts.Shown
	name, label        string
	given              string // the name as given, with user and port; empty: from a file
	index              int
	selection.KeyFiles                 // where its key is looked up
	failure            *results.Result // nil: all keys were scanned
	verdicts           []knownhosts.Verdict

	// What accept does. It takes no key of a host that needs attention.
	take      []ssh.PublicKey
	replace   bool // --replace names it
	unvouched bool // none of its keys is among the given fingerprints
}

// New returns an empty audit, which shows its verdicts on the screen as text or json.
func New(screen *termline.Screen, warn func(text, host string), format string, flags *selection.Flags) *Audit {
	return &Audit{screen: screen, warn: warn, Format: format, Known: flags.KeyCache, Flags: flags, Summary: results.New(nil)}
}

// Add adds the keys of a scanned host.
func (s *Audit) Add(shown *fleetssh.ShownKeys) *Host {
	entry := &s.Summary.Hosts[shown.Index]
	h := &Host{
		Shown: knownhosts.Shown{
			Host: shown.Name, Port: shown.Port, Keys: shown.Keys, Partial: shown.Err != nil,
			Alias: entry.Name, Refused: refusals(shown),
		},
		name: entry.Name, label: entry.Label, index: shown.Index, given: entry.Given, KeyFiles: entry.KeyFiles,
	}
	r := results.Result{Index: shown.Index, OK: true, Outcome: fleetssh.Outcome{Kind: fleetssh.Exited}}
	if shown.Err != nil {
		r = results.LoginResult(shown.Index, &entry.Config, nil, shown.Err)
		if errors.Is(shown.Err, context.Canceled) {
			r.Outcome = fleetssh.Outcome{Kind: fleetssh.Skipped}
		}
	}
	if r = *s.Summary.AddResult(r); !r.OK {
		h.failure = &r
	}
	listed := new(knownhosts.DB)
	if err := listed.Read(bytes.NewReader(shown.Listed), "KnownHostsCommand"); err != nil {
		s.warn(err.Error(), h.label)
	}
	return s.compare(h, listed)
}

// AddSaved adds the keys of a host from a saved scan.
func (s *Audit) AddSaved(shown knownhosts.Shown, in selection.KeyFiles) *Host {
	h := &Host{Shown: shown, name: cmp.Or(shown.Alias, shown.Host), label: shown.Host, index: len(s.Hosts), KeyFiles: in}
	if shown.Port != 0 {
		h.label = net.JoinHostPort(shown.Host, strconv.Itoa(shown.Port))
	}
	h.label = termline.Visible(cmp.Or(shown.Alias, h.label))
	return s.compare(h, new(knownhosts.DB))
}

// Order sorts the hosts by index.
func (s *Audit) Order() {
	slices.SortFunc(s.Hosts, func(a, b *Host) int { return a.index - b.index })
}

// compare compares the keys of a host with its files, and with the output of KnownHostsCommand.
func (s *Audit) compare(h *Host, listed *knownhosts.DB) *Host {
	h.verdicts = knownhosts.Union{s.Known.DB(h.Files), listed}.Judge(h.Shown)
	s.Hosts = append(s.Hosts, h)
	return h
}

// worst returns the worst standing among the keys of the host.
func (h *Host) worst() knownhosts.Standing {
	for _, worst := range []knownhosts.Standing{
		knownhosts.Banned, knownhosts.Mismatched, knownhosts.BadlyCertified, knownhosts.New, knownhosts.Certified, knownhosts.Listed, knownhosts.Other,
	} {
		if slices.ContainsFunc(h.verdicts, func(v knownhosts.Verdict) bool { return v.Standing == worst }) {
			if worst == knownhosts.Other {
				return knownhosts.Listed // known by another key: a host may have several
			}
			return worst
		}
	}
	return knownhosts.TooWeak // all of them are
}

// needsAttention reports whether a user should look into a host: one of its keys must be refused and is
// not replaced, or none is among the given fingerprints.
func (h *Host) needsAttention() bool {
	return h.unvouched || len(h.take) == 0 && h.worst().Alarming()
}

// Choice is which keys to accept.
type Choice struct {
	Replace []fleetssh.HostConfig
	Vouched knownhosts.Fingerprints // nil: the user compares them
}

// replaces reports whether the key of a host is to be replaced.
func (k *Choice) replaces(h *Host) bool {
	return slices.ContainsFunc(k.Replace, func(r fleetssh.HostConfig) bool { return isNamed(h, r) })
}

func isNamed(h *Host, r fleetssh.HostConfig) bool {
	port := h.Port
	if port == 0 {
		port = 22
	}
	byName := r.Port == 0 && r.Host == h.name // an alias, say
	return byName || strings.EqualFold(r.Host, h.Host) && (r.Port == 0 || r.Port == port)
}

// Unused returns the name of a host to replace that is not among the hosts, or the empty string.
func (k *Choice) Unused(hosts []*Host) string {
	for _, r := range k.Replace {
		if !slices.ContainsFunc(hosts, func(h *Host) bool { return isNamed(h, r) }) {
			return r.String()
		}
	}
	return ""
}

// Choose decides which keys of a host to accept.
func (k *Choice) Choose(h *Host) {
	h.replace = k.replaces(h)
	var offered, take []ssh.PublicKey
	for _, v := range h.verdicts {
		_, certificate := v.Key.(*ssh.Certificate)
		vouched := k.Vouched.Has(h.Host, h.Port, v.Key)
		switch {
		case v.Standing == knownhosts.Banned, v.Standing == knownhosts.BadlyCertified, v.Standing == knownhosts.Mismatched && !h.replace:
			return
		case v.Standing == knownhosts.TooWeak, certificate, v.Standing == knownhosts.Listed:
			continue
		case v.Standing == knownhosts.Other && !h.replace && !vouched:
			continue
		}
		offered = append(offered, v.Key)
		if k.Vouched == nil || vouched {
			take = append(take, v.Key)
		}
	}
	h.take = take
	h.unvouched = len(offered) > 0 && len(take) == 0
}

// CountKeys formats a number of keys, such as "3 keys".
func CountKeys(n int) string {
	if n == 1 {
		return "1 key"
	}
	return fmt.Sprintf("%d keys", n)
}

// ok reports whether a host has shown all its keys and needs no attention.
func (h *Host) ok() bool { return !h.needsAttention() && !h.Partial }

// Err returns the error that ends the program, nil if all hosts are ok.
func (s *Audit) Err() error {
	codes := map[int]bool{s.Summary.ExitCode(): true}
	for _, h := range s.Hosts {
		if !h.ok() {
			codes[exit.Unreachable] = true
		}
	}
	if code := exit.First(codes); code != exit.OK {
		return exit.Status(code)
	}
	return nil
}

// Show shows the keys of a host, for a scan.
func (s *Audit) Show(h *Host) {
	for i := range h.verdicts {
		s.showKey(h, &h.verdicts[i], h.verdicts[i].Standing.String(), "")
	}
	switch {
	case s.Format == "json":
		s.showResult(h)
	case h.failure == nil:
	case h.failure.Problem.Reason == "":
		s.out(h, "-", "not tried")
	default:
		s.out(h, "failed", h.failure.Problem.Phase+": "+h.failure.Problem.Reason)
	}
}

// ShowChoice shows which keys of a host are accepted, and which need attention.
func (s *Audit) ShowChoice(h *Host) {
	for i := range h.verdicts {
		v := &h.verdicts[i]
		taken := slices.ContainsFunc(h.take, func(k ssh.PublicKey) bool { return bytes.Equal(k.Marshal(), v.Key.Marshal()) })
		switch {
		case taken && v.Standing == knownhosts.Mismatched:
			s.showKey(h, v, "replace", "replace")
		case taken:
			s.showKey(h, v, "add", "add")
		case s.Format == "json", v.Standing.Alarming():
			s.showKey(h, v, v.Standing.String(), "none")
		case h.unvouched && v.Standing == knownhosts.New:
			s.showKey(h, v, "unvouched", "none")
		}
	}
	if s.Format == "json" {
		s.showResult(h)
	}
}

// out shows a line about a host, in columns.
func (s *Audit) out(h *Host, word, more string) {
	if s.padding == nil {
		s.padding = display.LabelPadding(s.screen, s.Summary.Hosts)
	}
	style := termline.Plain
	switch word {
	case "failed", "changed", "revoked", "invalid", "unvouched", "weak":
		style = termline.Failure
	}
	prefix := s.screen.Paint(termline.Label, h.label) + ": " + s.padding(h.label)
	s.screen.Out(prefix+s.screen.Paint(style, fmt.Sprintf("%-11s", word)), " "+more)
}

// showKey shows a key with its verdict.
func (s *Audit) showKey(h *Host, v *knownhosts.Verdict, word, action string) {
	if s.Format == "json" {
		display.PutJSON(s.screen, newJSONHostKey(h, v, action))
		return
	}
	text := results.KeyText(v.Key)
	if cert, ok := v.Key.(*ssh.Certificate); ok {
		text = fmt.Sprintf("%s %s, signed by %s", cert.Type(), ssh.FingerprintSHA256(cert.Key), results.KeyText(cert.SignatureKey))
	}
	var lines []string
	for _, l := range v.Lines {
		lines = append(lines, l.String())
	}
	switch v.Standing {
	case knownhosts.Mismatched:
		text += "; known is " + strings.Join(lines, ", ")
	case knownhosts.Banned, knownhosts.BadlyCertified:
		if lines != nil {
			text += "; listed is " + strings.Join(lines, ", ")
		}
	}
	switch {
	case v.Err == nil:
	case v.Standing == knownhosts.Banned, v.Standing == knownhosts.TooWeak:
		text += "; " + v.Err.Error()
	default:
		text += "; the certificate: " + v.Err.Error()
	}
	s.out(h, word, termline.Visible(text))
}

// groups returns the labels of the hosts by outcome, and the outcomes in the order of the summary.
func (s *Audit) groups() (words []string, labels map[string][]string) {
	labels = make(map[string][]string)
	for _, h := range s.Hosts {
		word := h.outcome()
		labels[word] = append(labels[word], h.label)
	}
	for word := range labels {
		words = append(words, word)
	}
	slices.SortFunc(words, func(a, b string) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a, b))
	})
	return words, labels
}

// rank returns the position of an outcome in the summary. Hosts without keys come last.
func rank(word string) int {
	order := []string{"known", "certificate", "new", "unvouched", "changed", "revoked", "invalid", "weak"}
	if i := slices.Index(order, word); i >= 0 {
		return i
	}
	return len(order)
}

// outcome returns the verdict about a host in one word.
func (h *Host) outcome() string {
	switch {
	case len(h.verdicts) > 0 && h.unvouched:
		return "unvouched"
	case len(h.verdicts) > 0:
		return h.worst().String()
	case h.failure != nil:
		return h.failure.Outcome.Kind.String()
	}
	return fleetssh.Unreachable.String()
}

// ShowSummary shows which hosts have which outcome, and how many there are of each.
func (s *Audit) ShowSummary() {
	words, labels := s.groups()
	if s.Format == "json" {
		s.showJSONSummary(labels)
		return
	}
	var counts []string
	for _, word := range words {
		counts = append(counts, fmt.Sprintf("%d %s", len(labels[word]), word))
	}
	say := s.screen.Message
	say(fmt.Sprintf("fleetssh: %s: %s", selection.CountHosts(len(s.Hosts)), strings.Join(counts, ", ")))
	for _, word := range words {
		if rank(word) == rank("") && s.Summary.Failed() > 0 {
			continue // ShowFailures shows them with the reasons
		}
		say("  " + word + ": " + hostset.Of(labels[word]...).String())
		switch {
		case word == knownhosts.Mismatched.String() && s.hasUnreplaced():
			say("    hint: " + s.Flags.ReplaceHint(s.namesOf(labels[word]), s.ScanFile))
		case word == "unvouched":
			say("    hint: none of their keys has a fingerprint in the file: ask the administrator of the hosts")
		}
	}
	for _, line := range s.sameKeys() {
		say("  " + line)
	}
	s.Summary.ShowFailures(s.screen)
}

// hasUnreplaced reports whether a changed key is not replaced.
func (s *Audit) hasUnreplaced() bool {
	return slices.ContainsFunc(s.Hosts, func(h *Host) bool { return h.needsAttention() && h.worst() == knownhosts.Mismatched })
}

// namesOf returns the names of hosts with these labels, as they were given on the command line.
func (s *Audit) namesOf(labels []string) []string {
	var names []string
	for _, h := range s.Hosts {
		if slices.Contains(labels, h.label) {
			names = append(names, cmp.Or(h.given, h.label))
		}
	}
	return names
}

// JSONHostKey is a key of a host.
type JSONHostKey struct {
	Type        string      `json:"type"`
	Time        time.Time   `json:"time"`
	Host        string      `json:"host"`
	Index       int         `json:"index"`
	State       string      `json:"state"`
	Action      string      `json:"action,omitempty"`
	KeyType     string      `json:"key_type"`
	Fingerprint string      `json:"fingerprint"`
	Authority   string      `json:"authority,omitempty"` // the key that signed a certificate
	Key         []byte      `json:"key"`
	Listed      []jsonKnown `json:"listed,omitempty"` // lines with other keys
	Reason      string      `json:"reason,omitempty"`
}

// jsonKnown is a line of a file.
type jsonKnown struct {
	KeyType     string `json:"key_type"`
	Fingerprint string `json:"fingerprint"`
	File        string `json:"file"`
	Line        int    `json:"line"`
}

func newJSONHostKey(h *Host, v *knownhosts.Verdict, action string) JSONHostKey {
	o := JSONHostKey{
		Type: "host_key", Time: time.Now(), Host: h.name, Index: h.index,
		State: v.Standing.String(), Action: action,
		KeyType: v.Key.Type(), Fingerprint: ssh.FingerprintSHA256(v.Key), Key: v.Key.Marshal(),
	}
	if cert, ok := v.Key.(*ssh.Certificate); ok {
		o.Fingerprint, o.Authority = ssh.FingerprintSHA256(cert.Key), ssh.FingerprintSHA256(cert.SignatureKey)
	}
	for _, l := range v.Lines {
		o.Listed = append(o.Listed, jsonKnown{l.Type, l.Fingerprint, l.File, l.Line})
	}
	if v.Err != nil {
		o.Reason = v.Err.Error()
	}
	return o
}

// jsonShown is the result of a host.
type jsonShown struct {
	Type    string             `json:"type"`
	Time    time.Time          `json:"time"`
	Host    string             `json:"host"`
	Index   int                `json:"index"`
	OK      bool               `json:"ok"`
	Outcome string             `json:"outcome"`
	Keys    int                `json:"keys"`
	Error   *results.JSONError `json:"error"`
}

func (s *Audit) showResult(h *Host) {
	o := jsonShown{Type: "result", Time: time.Now(), Host: h.name, Index: h.index, OK: h.ok(), Outcome: h.outcome(), Keys: len(h.Keys)}
	if h.failure != nil {
		o.Error = h.failure.JSONError()
	}
	display.PutJSON(s.screen, o)
}

// showJSONSummary writes the last object.
func (s *Audit) showJSONSummary(labels map[string][]string) {
	o := s.Summary.JSONSummary()
	o.Hosts, o.OK, o.Outcomes = len(s.Hosts), 0, make(map[string]int)
	for word, hosts := range labels {
		o.Outcomes[word] = len(hosts)
	}
	for _, h := range s.Hosts {
		if h.ok() {
			o.OK++
		}
	}
	o.Failed = o.Hosts - o.OK
	display.PutJSON(s.screen, o)
}
