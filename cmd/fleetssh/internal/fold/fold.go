// Package fold groups hosts with identical output. It stores each line once per group of hosts,
// so its memory grows with the differences; beyond 32 MiB the lines go to a temporary file.
package fold

import (
	"cmp"
	"hash/maphash"
	"slices"
)

// Stream is one of the two output streams of a host.
type Stream int

// The streams.
const (
	Stdout Stream = iota
	Stderr
)

// Fold groups hosts that wrote the same lines and ended the same way. Its cost grows with the
// number of lines, whatever the number of hosts and the order in which they write. It is not safe
// for concurrent use.
type Fold struct {
	lines lineStore
	trees [2]*tree
	hosts []host

	groups   map[groupKey]*group
	complete []*group // complete, and not yet returned
}

// host is the position of a host on both streams.
type host struct{ at [2]position }

// groupKey is what the hosts of a group share: both streams, and how they ended.
type groupKey struct {
	at     [2]*segment
	status string
}

type group struct {
	groupKey
	hosts    []int
	complete bool // it is in Fold.complete, or was returned from there
}

// A Group is the hosts that wrote the same to both streams and ended the same way.
type Group struct {
	Hosts  []int // in their order
	Status string

	fold *Fold
	at   [2]*segment
}

// New returns a fold of so many hosts, numbered from 0.
func New(hosts int) *Fold {
	f := &Fold{groups: make(map[groupKey]*group)}
	f.lines.limit, f.lines.unit = memoryLimit, blockSize
	for s := range f.trees {
		f.trees[s] = newTree(&f.lines)
	}
	f.hosts = make([]host, 0, hosts)
	for range hosts {
		f.Add()
	}
	return f
}

// Add adds a host, which has written nothing, and returns its number. It must not be called after
// a host has ended: a group may be complete by then.
func (f *Fold) Add() int {
	i := len(f.hosts)
	f.hosts = append(f.hosts, host{})
	for s := range f.trees {
		f.enter(i, s, f.trees[s].root, 0)
	}
	return i
}

// Close frees the lines. Groups cannot be read afterwards.
func (f *Fold) Close() error { return f.lines.close() }

// Line adds a line of a host that has not ended. It fails if the line cannot be stored, such as
// on a full disk.
func (f *Fold) Line(i int, stream Stream, text string) error {
	t, p := f.trees[stream], &f.hosts[i].at[stream]
	of := candidate{text: text, hash: uint32(maphash.String(t.seed, text))}
	if !p.atEnd() {
		if ok, err := f.lines.equal(p.segment.lines[p.line], of); ok || err != nil {
			p.line++ // after a read error, too: the host has written a line
			return err
		}
		f.split(i, int(stream))
	}
	from := p.segment
	to, err := t.child(from, of)
	if err != nil {
		return err
	}
	if to == nil {
		kept, err := f.lines.add(of)
		if err != nil {
			return err
		}
		if from.extendable() {
			from.lines = append(from.lines, kept)
			p.line++
			return nil
		}
		to = from.add(kept)
	}
	f.leave(i, int(stream))
	f.enter(i, int(stream), to, 1)
	f.closeIfEmpty(from)
	return nil
}

// End ends the output of a host. Hosts with a different status are in different groups.
func (f *Fold) End(i int, status string) {
	key := groupKey{status: status}
	for s := range f.trees {
		if !f.hosts[i].at[s].atEnd() {
			f.split(i, s)
		}
		key.at[s] = f.hosts[i].at[s].segment
	}
	g := f.groups[key]
	if g == nil {
		g = &group{groupKey: key}
		f.groups[key] = g
		for _, at := range key.at {
			at.pending = append(at.pending, g)
		}
	}
	g.hosts = append(g.hosts, i)
	for s := range f.trees {
		f.leave(i, s)
	}
	for _, at := range key.at {
		f.closeIfEmpty(at)
	}
}

// split splits the segment of a host after the last line that the host has written.
func (f *Fold) split(i, stream int) {
	p := &f.hosts[i].at[stream]
	lower, n := p.segment, p.line
	upper := lower.cut(n)
	for m := lower.members; m >= 0; {
		at := &f.hosts[m].at[stream]
		next := at.next
		if at.line <= n {
			line := at.line
			f.leave(int(m), stream)
			f.enter(int(m), stream, upper, line)
		} else {
			at.line -= n
		}
		m = next
	}
}

// enter moves a host into a segment, after so many of its lines.
func (f *Fold) enter(i, stream int, to *segment, line int) {
	f.hosts[i].at[stream] = position{segment: to, line: line, next: to.members, prev: -1}
	if to.members >= 0 {
		f.hosts[to.members].at[stream].prev = int32(i)
	}
	to.members = int32(i)
	to.active++
}

// leave removes a host from the members of its segment. closeIfEmpty must follow.
func (f *Fold) leave(i, stream int) {
	p := &f.hosts[i].at[stream]
	if p.prev >= 0 {
		f.hosts[p.prev].at[stream].next = p.next
	} else {
		p.segment.members = p.next
	}
	if p.next >= 0 {
		f.hosts[p.next].at[stream].prev = p.prev
	}
	p.segment.active--
}

// closeIfEmpty closes a segment if the last host has left it.
func (f *Fold) closeIfEmpty(s *segment) {
	if s.active > 0 || s.closed || s.parent != nil && !s.parent.closed {
		return
	}
	// A group is complete as soon as no other host can join it on one of the streams.
	s.close(func(g *group) {
		if !g.complete {
			g.complete = true
			f.complete = append(f.complete, g)
		}
	})
}

// Host returns the output of a host that has ended, as a group of its own.
func (f *Fold) Host(i int) Group {
	h := &f.hosts[i]
	return Group{Hosts: []int{i}, fold: f, at: [2]*segment{h.at[Stdout].segment, h.at[Stderr].segment}}
}

// HostLines calls yield for the lines that a host has written to a stream so far, in their order, until it
// returns false. It fails if they cannot be read back from the file.
func (f *Fold) HostLines(i int, s Stream, yield func(string) bool) error {
	p := &f.hosts[i].at[s]
	return f.trees[s].eachLineTo(p.segment, p.line, yield)
}

// Groups returns the groups of the hosts that have ended so far, also those that other hosts can still
// join, the largest first. Their hosts change with the next call of End.
func (f *Fold) Groups() []Group {
	groups := make([]Group, 0, len(f.groups))
	for _, g := range f.groups {
		slices.Sort(g.hosts)
		groups = append(groups, Group{Hosts: g.hosts, Status: g.status, fold: f, at: g.at})
	}
	slices.SortFunc(groups, compare)
	return groups
}

// Complete returns the groups that no other host can join, each once, the largest first.
func (f *Fold) Complete() []Group {
	if len(f.complete) == 0 {
		return nil
	}
	groups := make([]Group, len(f.complete))
	for i, g := range f.complete {
		slices.Sort(g.hosts)
		groups[i] = Group{Hosts: g.hosts, Status: g.status, fold: f, at: g.at}
	}
	f.complete = nil
	slices.SortFunc(groups, compare)
	return groups
}

// compare orders groups by size, the largest first, and by their first host.
func compare(a, b Group) int {
	return cmp.Or(len(b.Hosts)-len(a.Hosts), a.Hosts[0]-b.Hosts[0])
}

// Empty reports whether the hosts wrote nothing.
func (g Group) Empty() bool { return g.at[Stdout].parent == nil && g.at[Stderr].parent == nil }

// Lines calls yield for the lines of a stream, in their order, until it returns false. It fails if
// they cannot be read back from the file.
func (g Group) Lines(s Stream, yield func(string) bool) error {
	return g.fold.trees[s].eachLine(g.at[s], yield)
}
