// Package fold knows which hosts have written the same. What many wrote alike is kept
// once: the memory of a fold is that of what differs, and beyond 32 MiB of that a file.
package fold

import (
	"cmp"
	"slices"
)

// Stream tells the two streams of a host apart.
type Stream int

// The streams.
const (
	Stdout Stream = iota
	Stderr
)

// Fold takes what hosts write, line by line, and groups those that wrote the same and
// ended the same way. One goroutine at a time may use it.
type Fold struct {
	text  text
	trees [2]*tree
	hosts []host
	ended int

	groups map[groupKey]*group
	free   []*group // certain, and not yet taken
}

// host is what is known of one host.
type host struct {
	at    [2]*node
	ended bool
}

// groupKey is what hosts of a group have in common: both streams, and how they ended.
type groupKey struct {
	at     [2]*node
	status string
}

type group struct {
	groupKey
	hosts []int
	free  bool // in Fold.free, or taken from there
	taken bool
}

// A Group is a number of hosts that wrote the same to both streams and ended the same
// way.
type Group struct {
	Hosts  []int // in their order
	Status string

	fold *Fold
	at   [2]*node
}

// New returns a fold of so many hosts, which are known by their number from 0.
func New(hosts int) *Fold {
	f := &Fold{hosts: make([]host, hosts), groups: make(map[groupKey]*group)}
	f.text.limit = memory
	for s := range f.trees {
		f.trees[s] = newTree(&f.text)
		f.trees[s].root.active = hosts
	}
	for i := range f.hosts {
		f.hosts[i].at = [2]*node{f.trees[Stdout].root, f.trees[Stderr].root}
	}
	return f
}

// Close gives up what is kept. Groups cannot be read any more.
func (f *Fold) Close() error { return f.text.close() }

// Line takes a line of a host that has not ended. The error is that it cannot be kept:
// the disk is full.
func (f *Fold) Line(i int, s Stream, line string) error {
	h := &f.hosts[i]
	from := h.at[s]
	to, err := f.trees[s].next(from, line)
	if err != nil {
		return err
	}
	to.active++
	h.at[s] = to
	f.leave(from)
	return nil
}

// End says that a host writes no more. status is how it ended: hosts that did so
// differently are in different groups.
func (f *Fold) End(i int, status string) {
	h := &f.hosts[i]
	h.ended = true
	f.ended++
	key := groupKey{h.at, status}
	g := f.groups[key]
	if g == nil {
		g = &group{groupKey: key}
		f.groups[key] = g
	}
	g.hosts = append(g.hosts, i)
	f.leave(h.at[Stdout])
	f.leave(h.at[Stderr])
	f.settle(g)
}

// leave notes that a host is no longer at a node. Groups that waited for that are
// looked at again.
func (f *Fold) leave(n *node) {
	if n.active--; n.active > 0 || n.blocking == nil {
		return
	}
	waiting := n.blocking
	n.blocking = nil
	for g := range waiting {
		f.settle(g)
	}
}

// settle finds out whether a group is certain: no other host can get into it. That
// is so if on the way to where it is, on one of the streams, there is no host left
// that may still write.
func (f *Fold) settle(g *group) {
	if g.free {
		return
	}
	for s := range g.at {
		if g.at[s].busy() == nil {
			g.free = true
			f.free = append(f.free, g)
			return
		}
	}
	// Standard output tells hosts apart more often than standard error.
	at := g.at[Stdout].busy()
	if at.blocking == nil {
		at.blocking = make(map[*group]bool)
	}
	at.blocking[g] = true
}

// Certain returns the groups that no other host can get into any more, each once,
// the largest first.
func (f *Fold) Certain() []Group {
	if len(f.free) == 0 {
		return nil
	}
	groups := make([]Group, len(f.free))
	for i, g := range f.free {
		g.taken = true
		slices.Sort(g.hosts)
		groups[i] = Group{Hosts: g.hosts, Status: g.status, fold: f, at: g.at}
	}
	f.free = nil
	slices.SortFunc(groups, compare)
	return groups
}

// compare orders groups by size, the largest first, and by their first host.
func compare(a, b Group) int {
	return cmp.Or(len(b.Hosts)-len(a.Hosts), a.Hosts[0]-b.Hosts[0])
}

// Pending returns how many hosts have ended without their group being certain.
func (f *Fold) Pending() int {
	n := 0
	for _, g := range f.groups {
		if !g.taken {
			n += len(g.hosts)
		}
	}
	return n
}

// Empty reports whether the hosts wrote nothing.
func (g Group) Empty() bool { return g.at[Stdout].depth == 0 && g.at[Stderr].depth == 0 }

// Lines calls yield for the lines of a stream, in their order, until it returns false.
// The error is that they cannot be read back.
func (g Group) Lines(s Stream, yield func(string) bool) error {
	return g.fold.trees[s].lines(g.at[s], yield)
}
