package knownhosts

import (
	"iter"
	"strings"
	"sync"
)

// An index finds lines. A look-up costs a map access for names, a match for each pattern line,
// and a hash for each hashed line with the key in question. Searches that need a hash for each
// hashed line of the file go through [scans].
type index struct {
	names       map[string][]*line // lines with literal names: unmarked and authorities
	patterns    []*line            // lines with patterns: unmarked and authorities
	hashed      []*line            // unmarked; only ever appended to
	hashedKeys  map[string][]*line // the lines of hashed by key
	hashedTypes map[string]int     // the number of lines of hashed by key type
	authorities []*line            // hashed authorities; few in practice
	revoked     map[string][]*line // by key
}

func (x *index) add(l *line) {
	if x.names == nil {
		x.names = make(map[string][]*line)
		x.hashedKeys = make(map[string][]*line)
		x.hashedTypes = make(map[string]int)
		x.revoked = make(map[string][]*line)
	}
	switch {
	case l.marker == revoked:
		x.revoked[l.key] = append(x.revoked[l.key], l)
	case l.hashed && l.marker == authority:
		x.authorities = append(x.authorities, l)
	case l.hashed:
		x.hashed = append(x.hashed, l)
		x.hashedKeys[l.key] = append(x.hashedKeys[l.key], l)
		x.hashedTypes[l.keyType]++
	case l.isLiteral():
		for name := range strings.SplitSeq(l.patterns, ",") {
			known := x.names[name]
			if len(known) == 0 || known[len(known)-1] != l {
				x.names[name] = append(known, l)
			}
		}
	default:
		x.patterns = append(x.patterns, l)
	}
}

// lines yields the lines for a name that can be found without hashing, and the hashed
// authorities for it.
func (x *index) lines(name string) iter.Seq[*line] {
	return func(yield func(*line) bool) {
		for _, l := range x.names[name] {
			if !yield(l) {
				return
			}
		}
		for _, lines := range [][]*line{x.patterns, x.authorities} {
			for _, l := range lines {
				if l.matches(name) && !yield(l) {
					return
				}
			}
		}
	}
}

// find returns a line for a name with the given marker and key, or nil.
func (x *index) find(name string, m marker, key string) *line {
	if m != revoked {
		for l := range x.lines(name) {
			if l.marker == m && l.key == key {
				return l
			}
		}
	}
	var same []*line
	switch m {
	case unmarked:
		same = x.hashedKeys[key]
	case revoked:
		same = x.revoked[key]
	}
	for _, l := range same {
		if l.matches(name) {
			return l
		}
	}
	return nil
}

// maxScans is the number of names for which the result of a scan is kept. When there are more,
// all results are dropped.
const maxScans = 1 << 14

// scans keeps which hashed lines are about which name. A search takes a hash, of about 250 ns,
// for each hashed line.
type scans struct {
	mu   sync.Mutex // protects done
	done map[string]scan
}

// A scan is the result for one name: the matches among the first n hashed lines.
type scan struct {
	n    int
	hits []*line
}

// lines returns the hashed lines that are about a name. hashed is the list of the index, or an
// earlier state of it.
func (s *scans) lines(name string, hashed []*line) []*line {
	if len(hashed) == 0 {
		return nil
	}
	s.mu.Lock()
	got := s.done[name]
	s.mu.Unlock()
	if got.n >= len(hashed) {
		return got.hits
	}
	h := newHasher(name)
	// A new slice, because another goroutine may hold the old one.
	hits := append([]*line(nil), got.hits...)
	for _, l := range hashed[got.n:] {
		if h.sum(&l.salt) == l.sum {
			hits = append(hits, l)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.done == nil || len(s.done) >= maxScans {
		s.done = make(map[string]scan)
	}
	s.done[name] = scan{n: len(hashed), hits: hits}
	return hits
}
