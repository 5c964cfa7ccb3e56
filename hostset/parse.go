package hostset

import (
	"fmt"
	"slices"
	"strings"
)

// The limits of Parse, so that no expression takes all memory or all time.
const (
	maxNames = 1_000_000 // in a set, and in the expansion of one term
	maxName  = 512       // bytes of a name
	maxText  = 64 << 20  // bytes of an expression, or of a set with a comma a name
	maxDepth = 32        // groups within groups

	tooManyNames = "more than 1,000,000 names"
	tooMuchText  = "more than 64 MiB of names"
	tooLongName  = "name of more than 512 bytes"
	tooMuchWork  = "too much to compute"

	// maxWork is for expressions that make much of little, such as a large set
	// with thousands of operators behind it. A name made or compared is 1.
	maxWork = 20_000_000
)

// Groups resolves the name in "@name" to an expression. The name "*" stands for
// all known hosts: they are also what wildcards choose from, so that a Groups
// which does not know them returns an error for it. A name may hold colons, as in
// "source:name" and "source:*". It is called on the goroutine of [Parse], once a
// mention of the group, and once for all wildcards.
type Groups func(name string) (expr string, err error)

// Parse reads an expression:
//
//	web[01-20]         a range; the width of the first number is kept
//	rack[1-3]n[0-9/3]  several ranges, with a step
//	a,b                union; white space does the same
//	a!b                difference
//	a&b                intersection
//	a^b                symmetric difference
//	@name, @src:name   a group, resolved by groups; an error if groups is nil
//	@*                 all known hosts, which groups is asked for as "*"
//	web*, rack[1-3]?   the known hosts that match, maybe none: "*" stands for any
//	                   text, "?" for one character
//
// The operators have no precedence: they are applied from left to right. A group
// is resolved as if its expression stood in parentheses, and may name groups in
// turn. Commas too many are ignored, and the empty expression is the empty set.
//
// A set has up to 1,000,000 names, of up to 512 bytes each and 64 MiB in all, and
// so has each term of the expression; numbers in ranges have up to 18 digits, and
// groups nest 32 deep. The error is a [*ParseError].
func Parse(expr string, groups Groups) (Set, error) {
	p := &parser{expr: expr, shared: &shared{groups: groups}}
	return p.set()
}

// A parser reads one expression; the expression of a group has its own.
type parser struct {
	expr  string
	pos   int
	trail []string // the groups whose expressions led here, outermost first
	*shared
}

// shared is what the parser of an expression has in common with those of its
// groups.
type shared struct {
	groups Groups
	work   int      // done so far
	known  []string // what wildcards choose from, once it was asked for
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

// operator reads up to the next term or the end, and returns the operator that
// stands there: a comma also for white space only.
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
			return 0, p.fail(p.pos, `no hosts before "^", and files of hosts are not read here`)
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

// A chain applies operators from left to right. It gathers the operands of equal
// unions and differences that follow each other, so that a list of many names is
// sorted once.
type chain struct {
	left  []string // in order
	op    byte     // to be applied to left and right
	right []string // not in order
}

// add returns why it cannot, or an empty string.
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
