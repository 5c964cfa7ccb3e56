package explain

import (
	"cmp"
	"fmt"
	"strings"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/fold"
	"fleetssh/cmd/fleetssh/internal/results"
	"fleetssh/cmd/fleetssh/internal/selection"
	"fleetssh/cmd/fleetssh/internal/termline"
	"fleetssh/hostset"
)

// Explanations shows explanations of hosts.
type Explanations struct {
	Screen  *termline.Screen
	Origins Origins
	Verbose bool // each host has an explanation of its own, as soon as it is added

	limit  int // of hosts and groups that are held back; zero: maxHeld
	hosts  []explanation
	groups fold.Texts[int] // positions in hosts, by the keys of all lines
	all    int             // hosts
	ways   map[string]bool // the keys of all groups
}

// maxHeld is the largest number of explanations that are held back. More hosts are explained in several
// parts.
const maxHeld = 10_000

// Add adds a host: its plans, as [fleetssh.Explain] returns them, and the lines of ssh_config about it.
func (x *Explanations) Add(label string, plans []fleetssh.Plan, config []selection.ConfigLine) {
	e := x.Origins.explain(label, plans, config)
	if x.Verbose {
		for _, l := range e.lines {
			x.Screen.Out("", l.text)
		}
		return
	}
	var keys strings.Builder
	for _, l := range e.lines {
		keys.WriteString(l.key + "\n")
	}
	if x.ways == nil {
		x.ways = make(map[string]bool)
	}
	limit := cmp.Or(x.limit, maxHeld)
	if len(x.ways) < limit {
		x.ways[keys.String()] = true
	}
	x.all++
	x.groups.Add(keys.String(), len(x.hosts))
	if x.hosts = append(x.hosts, e); len(x.hosts) == limit {
		x.flush()
	}
}

// Close shows the explanations of the groups, and the total.
func (x *Explanations) Close() {
	x.flush()
	if x.all < 2 {
		return
	}
	ways := "all in the same way"
	if n := len(x.ways); n > 1 {
		ways = fmt.Sprintf("in %d different ways", n)
	}
	x.Screen.Out("", fmt.Sprintf("%s: %s; --verbose explains each", selection.CountHosts(x.all), ways))
}

// flush shows what is held back.
func (x *Explanations) flush() {
	for _, hosts := range x.groups.All() {
		x.show(hosts)
	}
	x.hosts, x.groups = nil, fold.Texts[int]{}
}

// show shows the explanation that hosts share.
func (x *Explanations) show(hosts []int) {
	if len(hosts) > 1 {
		labels := make([]string, len(hosts))
		for i, host := range hosts {
			labels[i] = x.hosts[host].label
		}
		x.Screen.Out(x.Screen.Paint(termline.Heading, results.CountedNames(labels)), "")
	}
	texts := make([]string, len(hosts))
	for n := range x.hosts[hosts[0]].lines {
		for i, host := range hosts {
			texts[i] = x.hosts[host].lines[n].text
		}
		x.Screen.Out("", common(texts))
	}
}

// maxFolded is the longest set of values that is shown, in characters.
const maxFolded = 48

// common returns what texts have in common. Where they differ it has the set of values, if that is short,
// or their number.
func common(texts []string) string {
	first := strings.Split(texts[0], " ")
	values := make([]fold.Texts[int], len(first))
	seen := make(map[string]bool)
	for i, text := range texts {
		if seen[text] {
			continue
		}
		seen[text] = true
		words := strings.Split(text, " ")
		if len(words) != len(first) {
			return texts[0] + "  (others differ)"
		}
		for n, word := range words {
			values[n].Add(word, i)
		}
	}
	for n := range first {
		if values[n].Len() > 1 {
			first[n] = folded(&values[n])
		}
	}
	return strings.Join(first, " ")
}

// folded returns a set of words.
func folded(values *fold.Texts[int]) string {
	var words []string
	for word := range values.All() {
		words = append(words, word)
	}
	if strings.HasPrefix(words[0], "SHA256:") {
		return fmt.Sprintf("%d different keys", len(words))
	}
	if short := lineNumber.ReplaceAllString(words[0], ":…$1"); short != words[0] && len(words) > 3 {
		return short
	}
	if set := hostset.Of(words...).String(); len(set) <= max(maxFolded, len(words[0])+8) {
		return set
	}
	return fmt.Sprintf("%s … (%d different)", words[0], len(words))
}
