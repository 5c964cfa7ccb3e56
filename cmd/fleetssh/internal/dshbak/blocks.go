package dshbak

import (
	"cmp"
	"slices"

	"fleetssh/cmd/fleetssh/internal/fold"
	"fleetssh/cmd/fleetssh/internal/termline"
	"fleetssh/hostset"
)

// rule is the line above and below the hosts.
const rule = "----------------"

// Blocks shows the output of each host, or of each set of hosts, below its name.
type Blocks struct {
	screen   *termline.Screen
	coalesce bool
	fold     *fold.Fold
	names    []string
	numbers  map[string]int
}

// NewBlocks returns a sink that shows the lines on screen at the end. With coalesce, identical
// output of several hosts is shown once.
func NewBlocks(screen *termline.Screen, together bool) *Blocks {
	return &Blocks{screen: screen, coalesce: together, fold: fold.New(0), numbers: make(map[string]int)}
}

// Line implements [Sink].
func (b *Blocks) Line(host string, text []byte) error {
	i, known := b.numbers[host]
	if !known {
		if i = len(b.names); i == maxHosts {
			return tooManyHosts()
		}
		b.numbers[host] = b.fold.Add()
		b.names = append(b.names, host)
	}
	return b.fold.Line(i, fold.Stdout, string(text))
}

// End implements [Sink]. It shows the blocks in the order of their first hosts.
func (b *Blocks) End() error {
	for i, name := range b.names {
		if b.coalesce {
			name = ""
		}
		b.fold.End(i, name) // a status of its own keeps a host in a group of its own
	}
	type block struct {
		hosts hostset.Set
		fold.Group
	}
	all := hostset.Of(b.names...)
	var blocks []block
	for _, g := range b.fold.Complete() {
		names := make([]string, len(g.Hosts))
		for i, n := range g.Hosts {
			names[i] = b.names[n]
		}
		blocks = append(blocks, block{hostset.Of(names...), g})
	}
	first := func(b block) int { return all.Index(b.hosts.First(1).Names()[0]) }
	slices.SortFunc(blocks, func(a, b block) int { return cmp.Compare(first(a), first(b)) })
	for _, block := range blocks {
		b.screen.Out("", rule)
		b.screen.Out("", block.hosts.String())
		b.screen.Out("", rule)
		if err := block.Lines(fold.Stdout, func(line string) bool { b.screen.Out("", line); return true }); err != nil {
			return err
		}
	}
	return nil
}

// Close implements [Sink]. It frees the lines.
func (b *Blocks) Close() error { return b.fold.Close() }
