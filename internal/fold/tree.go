package fold

import "hash/maphash"

// tree holds what hosts have written to one stream: each way from the root is what
// one or more of them have written until now. Hosts that write the same go the same
// way, and it is kept once.
type tree struct {
	text *text
	seed maphash.Seed
	root *node
}

// node is a line, behind all lines on the way to it.
type node struct {
	parent   *node
	line     line
	hash     uint64
	first    *node            // the first line that followed
	more     map[uint64]*node // the others, by their hash; those with the same one in same
	same     *node
	depth    int
	active   int             // hosts that are here and have not ended
	blocking map[*group]bool // groups that wait for them
}

func newTree(t *text) *tree {
	return &tree{text: t, seed: maphash.MakeSeed(), root: new(node)}
}

// next returns the node for a line behind n.
func (t *tree) next(n *node, s string) (*node, error) {
	hash := maphash.String(t.seed, s)
	is := func(c *node) (bool, error) {
		if c == nil || c.hash != hash || c.line.length != len(s) {
			return false, nil
		}
		kept, err := t.text.get(c.line)
		return kept == s, err
	}
	if ok, err := is(n.first); ok || err != nil {
		return n.first, err
	}
	for c := n.more[hash]; c != nil; c = c.same {
		if ok, err := is(c); ok || err != nil {
			return c, err
		}
	}
	kept, err := t.text.keep(s)
	if err != nil {
		return nil, err
	}
	c := &node{parent: n, line: kept, hash: hash, depth: n.depth + 1}
	switch {
	case n.first == nil:
		n.first = c
	case n.more == nil:
		n.more = map[uint64]*node{hash: c}
	default:
		c.same = n.more[hash]
		n.more[hash] = c
	}
	return c, nil
}

// busy returns the last node on the way to n, n included, at which hosts are that
// have not ended, nil if there is none.
func (n *node) busy() *node {
	for ; n != nil; n = n.parent {
		if n.active > 0 {
			return n
		}
	}
	return nil
}

// lines returns the lines on the way to a node, and calls yield for each.
func (t *tree) lines(n *node, yield func(string) bool) error {
	way := make([]*node, n.depth)
	for ; n.parent != nil; n = n.parent {
		way[n.depth-1] = n
	}
	for _, n := range way {
		s, err := t.text.get(n.line)
		if err != nil {
			return err
		}
		if !yield(s) {
			return nil
		}
	}
	return nil
}
