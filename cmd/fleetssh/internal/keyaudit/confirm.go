package keyaudit

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/results"
	"fleetssh/cmd/fleetssh/internal/selection"
	"fleetssh/hostset"
)

const (
	// settleTime is how long no other host with a new key must have come before the user is asked, and
	// maxSettleTime how long the first one waits for that.
	settleTime, maxSettleTime = time.Second, 10 * time.Second

	// maxShownKeys is how many lines about keys a question has. The answer "list" shows all.
	maxShownKeys = 20
)

// Confirmation asks the user whether to trust the keys of hosts that are not known: once for all hosts
// that wait, as far as they come within some seconds.
type Confirmation struct {
	Ask   func(ctx context.Context, prompt string, echo bool) (string, error)
	Hosts int // of the run: when so many wait, there is no other to wait for

	mu      sync.Mutex // protects what follows
	waiting []*newKey
	asker   *newKey // the one whose goroutine asks; nil: none waits
	refused bool    // the user has said no, and is not asked again
}

// newKey is a host with a new key that waits for the answer.
type newKey struct {
	fleetssh.NewHostKey
	answer chan bool     // has the answer
	turn   chan struct{} // closed when it is the turn of this host to ask
}

// Confirm returns whether to trust the key of a host. It is [fleetssh.HostConfig.ConfirmHostKey].
func (c *Confirmation) Confirm(ctx context.Context, key fleetssh.NewHostKey) bool {
	k := &newKey{NewHostKey: key, answer: make(chan bool, 1), turn: make(chan struct{})}
	c.mu.Lock()
	c.waiting = append(c.waiting, k)
	if c.asker == nil {
		c.appoint(k)
	}
	c.mu.Unlock()
	select {
	case trusted := <-k.answer:
		return trusted
	case <-k.turn:
		c.ask(ctx)
	case <-ctx.Done():
	}
	c.leave(k)
	select {
	case trusted := <-k.answer:
		return trusted
	default:
		return false
	}
}

// appoint makes a host the one that asks; nil means none. mu must be held.
func (c *Confirmation) appoint(k *newKey) {
	if c.asker = k; k != nil {
		close(k.turn)
	}
}

// leave removes a host, and lets another one ask if it was its turn.
func (c *Confirmation) leave(k *newKey) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiting = slices.DeleteFunc(c.waiting, func(w *newKey) bool { return w == k })
	if c.asker != k {
		return
	}
	c.appoint(nil)
	if len(c.waiting) > 0 {
		c.appoint(c.waiting[0])
	}
}

// ask waits until no other host comes, asks about those that have come, and gives them the answer. It
// gives none if ctx ends.
func (c *Confirmation) ask(ctx context.Context) {
	keys := c.settled(ctx)
	if len(keys) == 0 {
		return
	}
	trusted, err := c.question(ctx, keys)
	if err != nil && ctx.Err() != nil {
		return // the others may still wait, and ask again
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, k := range keys {
		k.answer <- trusted[fingerprint(k)]
	}
	c.refused = c.refused || len(trusted) == 0
	c.waiting = slices.DeleteFunc(c.waiting, func(w *newKey) bool { return slices.Contains(keys, w) })
}

// settled waits until all hosts have come, or none has come for a while, and returns them.
func (c *Confirmation) settled(ctx context.Context) []*newKey {
	begun, came, last := time.Now(), 0, time.Now()
	ticks := time.NewTicker(settleTime / 20)
	defer ticks.Stop()
	for {
		c.mu.Lock()
		keys, refused := slices.Clone(c.waiting), c.refused
		c.mu.Unlock()
		if len(keys) != came {
			came, last = len(keys), time.Now()
		}
		if refused || came >= c.Hosts || time.Since(last) >= settleTime || time.Since(begun) >= maxSettleTime {
			return keys
		}
		select {
		case <-ticks.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// question asks until the answer can be used. It returns which keys are trusted, by fingerprint.
func (c *Confirmation) question(ctx context.Context, keys []*newKey) (trusted map[string]bool, err error) {
	if c.refused {
		return nil, nil
	}
	all := make(map[string]bool)
	for _, k := range keys {
		all[fingerprint(k)] = true
	}
	prompt := questionText(keys, maxShownKeys)
	for {
		answer, err := c.Ask(ctx, prompt, true)
		if err != nil {
			return nil, err // also at the end of input
		}
		words := strings.Fields(answer)
		switch word := strings.ToLower(strings.Join(words, " ")); {
		case word == "yes":
			return all, nil
		case word == "no":
			return nil, nil
		case word == "list":
			prompt = questionText(keys, len(keys))
			continue
		case strings.HasPrefix(word, "sha256:"):
			if trusted, wrong := chosen(words, all); wrong == "" {
				return trusted, nil
			} else {
				prompt = "no host shows " + wrong + "\n"
			}
		default:
			prompt = ""
		}
		prompt += "Please type 'yes', 'no' or the fingerprint: "
	}
}

// chosen returns the keys with the fingerprints that the user has typed, or one that no host shows.
func chosen(words []string, all map[string]bool) (trusted map[string]bool, wrong string) {
	trusted = make(map[string]bool)
	for _, word := range words {
		if word = strings.TrimRight(word, ",="); !all[word] {
			return nil, word
		}
		trusted[word] = true
	}
	return trusted, ""
}

// fingerprint returns the fingerprint of the key that would be added.
func fingerprint(k *newKey) string { return ssh.FingerprintSHA256(results.PlainKey(k.Key)) }

// questionText returns the question about new keys, with at most so many lines about them.
func questionText(keys []*newKey, most int) string {
	names := make([]string, len(keys))
	for i, k := range keys {
		names[i] = k.Host
	}
	distinct := hostset.Of(names...)
	keys = slices.SortedStableFunc(slices.Values(keys), func(a, b *newKey) int { return distinct.Index(a.Host) - distinct.Index(b.Host) })
	var order, files []string // keys, in the order of their hosts, and files without duplicates
	hosts := make(map[string][]string)
	for _, k := range keys {
		id := results.KeyText(results.PlainKey(k.Key))
		if hosts[id] == nil {
			order = append(order, id)
		}
		hosts[id] = append(hosts[id], k.Host)
		if k.File != "" && !slices.Contains(files, k.File) {
			files = append(files, k.File)
		}
	}
	var b strings.Builder
	them, fingerprints := "it", "the fingerprint"
	if distinct.Len() == 1 {
		fmt.Fprintf(&b, "The authenticity of host '%s' can't be established: its key is not known.\n", names[0])
	} else {
		them, fingerprints = "them", "the fingerprints"
		fmt.Fprintf(&b, "The authenticity of %s can't be established: their keys are not known.\n", selection.CountHosts(distinct.Len()))
	}
	if len(order) == 1 {
		fingerprints = "the fingerprint"
	}
	slices.SortStableFunc(order, func(x, y string) int { return len(hosts[y]) - len(hosts[x]) }) // shared keys first
	for i, id := range order {
		if i == most {
			fmt.Fprintf(&b, "  and %d more; \"list\" shows all\n", len(order)-most)
			break
		}
		same := hostset.Of(hosts[id]...)
		switch {
		case same.Len() >= results.MinSame:
			b.WriteString("  " + results.SameKeyText(same.String(), id) + "\n")
		case same.Len() > 1:
			b.WriteString("  " + same.String() + " show the same key, " + id + "\n")
		default:
			b.WriteString("  " + same.String() + ": " + id + "\n")
		}
	}
	fmt.Fprintf(&b, "Compare %s with what the administrator of the %s says.\n", fingerprints, selection.HostWord(distinct.Names()))
	fmt.Fprintf(&b, "Trust %s, and %s (yes/no/[fingerprint])? ", them, destination(files, them))
	return b.String()
}

// destination says what happens to the keys that are trusted.
func destination(files []string, them string) string {
	switch len(files) {
	case 0:
		return "remember " + them + " for this run"
	case 1:
		return "add " + them + " to " + files[0]
	}
	return "add " + them + " to the known hosts files of ssh_config"
}
