package hostset

import (
	"fmt"
	"slices"
	"strings"
)

// The limits of Parse, which keep any expression from taking too much memory or time.
const (
	maxNames = 1_000_000 // in a set, and in the expansion of one term
	maxName  = 512       // bytes of a name
	maxText  = 64 << 20  // bytes of an expression, or of the names of a set with a comma each
	maxDepth = 32        // nested groups

	tooManyNames = "more than 1,000,000 names"
	tooMuchText  = "more than 64 MiB of names"
	tooLongName  = "name of more than 512 bytes"
	tooMuchWork  = "too much to compute"

	// maxWork bounds the time of short expressions that cause a lot of work, such as a large set
	// followed by thousands of operators. Making or comparing a name counts as 1.
	maxWork = 20_000_000
)

// Groups returns the expression of the group "@name". The name "*" means all known hosts, from
// which wildcards choose, too; a Groups that does not know them returns an error for "*". A name
// may contain colons, as in "source:name" and "source:*".
//
// [Parse] calls Groups on its own goroutine, once for each mention of a group and once for all
// wildcards. It wraps the error in a [*ParseError].
type Groups func(name string) (expr string, err error)

// Parse parses an expression:
//
//	web[01-20]         a range; all numbers have the width of the first
//	rack[1-3]n[0-9/3]  several ranges, with a step
//	a,b                union; white space means the same
//	a!b                difference
//	a&b                intersection
//	a^b                symmetric difference
//	@name, @src:name   the hosts of a group
//	@*                 all known hosts
//	web*, rack[1-3]?   the known hosts that match, possibly none: "*" matches any
//	                   text, "?" one character
//
// Operators are applied from left to right, without precedence. The expression of a group is
// evaluated on its own, as if in parentheses, and may contain groups. Extra commas are ignored.
// The empty expression is the empty set.
//
// If groups is nil, groups and wildcards are errors.
//
// A set, and each term of an expression, has at most 1,000,000 names of at most 512 bytes each and
// 64 MiB in total. The numbers of ranges have at most 18 digits. Groups nest at most 32 deep. An
// expression that would take too long to compute is an error, too.
//
// The error is a [*ParseError].
func Parse(expr string, groups Groups) (Set, error) {
	p := &parser{expr: expr, shared: &shared{groups: groups}}
	return p.set()
}

// A parser parses one expression. The expression of a group has its own parser.
type parser struct {
	expr  string
	pos   int
	trail []string // the groups that contain this expression, outermost first
	*shared
}

// shared is the state that the parser of an expression shares with the parsers of its groups.
type shared struct {
	groups Groups
	work   int      // done so far
	known  []string // the known hosts; nil until the first wildcard
}

func (p *parser) set() (Set, error) {
	if len(p.expr) > maxText {
		return Set{}, p.fail(0, "expression of more than 64 MiB")
	}
	var c chain
	for first := true; ; first = false {
		op, err := p.operator(first)
		if err != nil {
			return Set{}, err
		}
		if p.pos == len(p.expr) {
			break
		}
		start := p.pos
		names, err := p.term()
		if err != nil {
			return Set{}, err
		}
		if reason := c.add(op, names, &p.work); reason != "" {
			return Set{}, p.fail(start, "%s", reason)
		}
	}
	if reason := c.apply(&p.work); reason != "" {
		return Set{}, p.fail(0, "%s", reason)
	}
	size := 0
	for _, name := range c.left {
		size += len(name) + 1
	}
	if size > maxText {
		return Set{}, p.fail(0, tooMuchText)
	}
	return Set{c.left}, nil
}

const (
	space     = " \t\r\n"
	operators = ",!&^"
)

// operator reads up to the next term or the end, and returns the operator: a comma for white space.
func (p *parser) operator(first bool) (byte, error) {
	op, at := byte(','), p.pos
	nothingBefore := first
	for ; p.pos < len(p.expr); p.pos++ {
		c := p.expr[p.pos]
		switch {
		case strings.IndexByte(space, c) >= 0:
		case strings.IndexByte(operators, c) < 0:
			return op, nil
		case op != ',':
			return 0, p.fail(p.pos, "no hosts between %q and %q", string(op), string(c))
		case c == ',':
			nothingBefore = true
		case nothingBefore && c == '^':
			return 0, p.fail(p.pos, `no hosts before "^"; files of hosts ("^FILE") are not supported`)
		case nothingBefore:
			return 0, p.fail(p.pos, "no hosts before %q", string(c))
		default:
			op, at = c, p.pos
		}
	}
	if op != ',' {
		return 0, p.fail(at, "no hosts after %q", string(op))
	}
	return op, nil
}

func (p *parser) fail(at int, format string, args ...any) error {
	return &ParseError{Expr: p.expr, Offset: at, Reason: fmt.Sprintf(format, args...)}
}

// A chain applies operators from left to right. It collects the operands of consecutive unions, or
// of consecutive differences, so that a long list of names is sorted only once.
type chain struct {
	left  []string // in order
	op    byte     // to be applied to left and right
	right []string // not in order
}

// add adds an operator and its right operand. It returns the reason if it fails, otherwise "".
func (c *chain) add(op byte, names []string, work *int) (reason string) {
	gathers := op == ',' || op == '!'
	if op == c.op && gathers && len(c.right)+len(names) <= maxNames {
		c.right = append(c.right, names...)
		return ""
	}
	if reason := c.apply(work); reason != "" {
		return reason
	}
	c.op, c.right = op, slices.Clip(names)
	return ""
}

func (c *chain) apply(work *int) (reason string) {
	if *work += len(c.left) + len(c.right); *work > maxWork {
		return tooMuchWork
	}
	right := inOrder(c.right)
	switch c.op {
	case ',':
		if len(c.left) == 0 {
			c.left = right
		} else {
			c.left = merge(c.left, right, onlyLeft|inBoth|onlyRight)
		}
	case '!':
		c.left = merge(c.left, right, onlyLeft)
	case '&':
		c.left = merge(c.left, right, inBoth)
	case '^':
		c.left = merge(c.left, right, onlyLeft|onlyRight)
	}
	c.right = nil
	if len(c.left) > maxNames {
		return tooManyNames
	}
	return ""
}
