package fold

import "hash/maphash"

// tree holds what hosts have written to one stream: each way from the root is what one or
// more of them have written until now. Lines that all of them wrote one after another are
// one segment, so that a line costs sixteen bytes beside its text, and the tree has no more
// segments than twice the number of hosts.
type tree struct {
	text *lineStore
	seed maphash.Seed
	root *segment
}

// segment is a run of lines behind all lines on the way to it. Hosts are in it from its
// first line to its last; they part, and end, behind the last one only: where they do so
// earlier, the segment is split.
//
// Hosts go down only. So when none is left in a segment and in all above it, nobody gets
// there any more: it is closed, for good.
type segment struct {
	parent *segment // nil: the root, which has no lines
	lines  []line
	above  int // lines on the way to it

	first *segment            // what followed it first
	more  map[uint32]*segment // what else did, by the hash of the first line; those with the same one in same
	same  *segment

	members int32 // the first of the hosts that are here, -1: none; see place
	active  int   // of those, how many have not ended
	closed  bool
	pending []*group // groups that end behind the last line, until it is closed
}

// position is where a host is on one stream: behind so many lines of a segment. next and
// prev are the hosts before and after it in the list of the segment's members, -1: none.
type position struct {
	segment    *segment
	line       int
	next, prev int32
}

func newTree(t *lineStore) *tree {
	return &tree{text: t, seed: maphash.MakeSeed(), root: &segment{members: -1}}
}

// atEnd reports whether the place is behind the last line of its segment.
func (p *position) atEnd() bool { return p.line == len(p.segment.lines) }

// child returns the segment behind s that begins with a line, nil if there is none.
func (t *tree) child(s *segment, of candidate) (*segment, error) {
	if s.first == nil {
		return nil, nil
	}
	if ok, err := t.text.equal(s.first.lines[0], of); ok || err != nil {
		return s.first, err
	}
	for c := s.more[of.hash]; c != nil; c = c.same {
		if ok, err := t.text.equal(c.lines[0], of); ok || err != nil {
			return c, err
		}
	}
	return nil, nil
}

// add puts a new segment behind s.
func (s *segment) add(l line) *segment {
	c := &segment{parent: s, lines: []line{l}, above: s.above + len(s.lines), members: -1}
	switch {
	case s.first == nil:
		s.first = c
	case s.more == nil:
		s.more = map[uint32]*segment{l.hash: c}
	default:
		c.same = s.more[l.hash]
		s.more[l.hash] = c
	}
	return c
}

// extendable reports whether a line can be put at the end of s: nothing follows there, and
// nobody has ended there.
func (s *segment) extendable() bool { return s.parent != nil && s.first == nil && len(s.pending) == 0 }

// cut makes a segment of the first n lines of s, which keeps the others. The parent of s
// has the new one in its place.
func (s *segment) cut(n int) *segment {
	upper := &segment{parent: s.parent, lines: s.lines[:n:n], above: s.above, first: s, members: -1}
	upper.same, s.same = s.same, nil
	s.parent.replace(s, upper)
	s.parent, s.lines, s.above = upper, s.lines[n:], s.above+n
	return upper
}

// replace puts a segment that begins with the same line in the place of another.
func (s *segment) replace(old, with *segment) {
	if s.first == old {
		s.first = with
		return
	}
	hash := with.lines[0].hash
	if s.more[hash] == old {
		s.more[hash] = with
		return
	}
	for c := s.more[hash]; c != nil; c = c.same {
		if c.same == old {
			c.same = with
			return
		}
	}
}

// close closes s, in which and above which nobody is any more, and what is below it as far
// as that holds there. It calls free for the groups that waited.
func (s *segment) close(free func(*group)) {
	for open := []*segment{s}; len(open) > 0; {
		s := open[len(open)-1]
		open = open[:len(open)-1]
		s.closed = true
		for _, g := range s.pending {
			free(g)
		}
		s.pending = nil
		idle := func(c *segment) {
			if c.active == 0 {
				open = append(open, c)
			}
		}
		if s.first != nil {
			idle(s.first)
		}
		for _, c := range s.more {
			for ; c != nil; c = c.same {
				idle(c)
			}
		}
	}
}

// eachLine calls yield for the lines from the root to the end of s.
func (t *tree) eachLine(s *segment, yield func(string) bool) error {
	var way []*segment
	for ; s != nil; s = s.parent {
		way = append(way, s)
	}
	read := lineReader{text: t.text}
	for i := len(way) - 1; i >= 0; i-- {
		for _, l := range way[i].lines {
			line, err := read.get(l)
			if err != nil {
				return err
			}
			if !yield(line) {
				return nil
			}
		}
	}
	return nil
}
