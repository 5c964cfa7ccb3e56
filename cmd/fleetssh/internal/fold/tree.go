package fold

import "hash/maphash"

// tree is a radix tree of the lines that hosts have written to one stream: each path from the root
// is the output of one or more hosts so far. Lines that the same hosts wrote are one segment, so a
// line costs sixteen bytes besides its text, and there are at most twice as many segments as hosts.
type tree struct {
	text *lineStore
	seed maphash.Seed
	root *segment
}

// segment is a run of lines that follows the lines on the path to it. Hosts diverge, and end, only
// after its last line: where they do so earlier, the segment is split.
//
// Hosts only move down. When no host is left in a segment and in all segments above it, no host can
// reach it any more, and it is closed for good.
type segment struct {
	parent *segment // nil: the root, which has no lines
	lines  []line
	above  int // number of lines on the path to it

	first *segment            // the first segment that followed it
	more  map[uint32]*segment // the others, by the hash of their first line; same links those with equal hashes
	same  *segment

	members int32 // the first host in the list of its hosts, -1: none; see position
	active  int   // how many of them have not ended
	closed  bool
	pending []*group // groups that end after the last line, until the segment is closed
}

// position is how far a host has come on one stream: after so many lines of a segment. prev and
// next are the hosts before and after it in the list of the segment's members, -1: none.
type position struct {
	segment    *segment
	line       int
	next, prev int32
}

func newTree(t *lineStore) *tree {
	return &tree{text: t, seed: maphash.MakeSeed(), root: &segment{members: -1}}
}

// atEnd reports whether the position is after the last line of its segment.
func (p *position) atEnd() bool { return p.line == len(p.segment.lines) }

// child returns the segment after s that begins with a line, nil if there is none.
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

// add adds a new segment after s.
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

// extendable reports whether a line can be appended to s: nothing follows it, and no host has
// ended there.
func (s *segment) extendable() bool { return s.parent != nil && s.first == nil && len(s.pending) == 0 }

// cut moves the first n lines of s to a new segment, which becomes the parent of s.
func (s *segment) cut(n int) *segment {
	upper := &segment{parent: s.parent, lines: s.lines[:n:n], above: s.above, first: s, members: -1}
	upper.same, s.same = s.same, nil
	s.parent.replace(s, upper)
	s.parent, s.lines, s.above = upper, s.lines[n:], s.above+n
	return upper
}

// replace replaces a child by a segment that begins with the same line.
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

// close closes s, which no host can reach any more, and the segments below it without active
// hosts. It calls free for their pending groups.
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
	return t.eachLineTo(s, len(s.lines), yield)
}

// eachLineTo calls yield for the lines from the root to the line n of s. A host that has ended may count
// more lines than s has: s may have been split since.
func (t *tree) eachLineTo(s *segment, n int, yield func(string) bool) error {
	end := s
	var path []*segment
	for ; s != nil; s = s.parent {
		path = append(path, s)
	}
	read := lineReader{text: t.text}
	for i := len(path) - 1; i >= 0; i-- {
		lines := path[i].lines
		if path[i] == end {
			lines = lines[:min(n, len(lines))]
		}
		for _, l := range lines {
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
