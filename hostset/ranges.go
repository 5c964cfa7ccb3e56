package hostset

import "strings"

// maxDigits is the number of digits of the longest number in a range. The sum of two such numbers
// fits in a uint64.
const maxDigits = 18

// A pattern is a name split into texts and ranges: "rack[1-3]n[0-9]" has four pieces.
type pattern []piece

type piece struct {
	text  string
	spans []span // if not empty, the ranges in place of text
}

// A span is a range "first-last/step", or one number.
type span struct {
	first, last, step uint64
	width             int // numbers are padded with zeros to it; 0: no padding
}

func (s span) count() uint64 { return (s.last-s.first)/s.step + 1 }

// spans reads the ranges in a bracket, whose contents are inside.
func (p *parser) spans(inside string) ([]span, error) {
	p.pos++
	if inside == "" {
		return nil, p.fail(p.pos, "empty range")
	}
	for i := range len(inside) {
		if c := inside[i]; !isDigit(c) && strings.IndexByte(",-/", c) < 0 {
			return nil, p.fail(p.pos+i, `a range may contain only digits, ",", "-" and "/"`)
		}
	}
	end := p.pos + len(inside)
	var spans []span
	var count uint64
	for {
		at := p.pos
		s, err := p.span()
		if err != nil {
			return nil, err
		}
		spans = append(spans, s)
		if count += s.count(); count > maxNames {
			return nil, p.fail(at, tooManyNames)
		}
		switch {
		case p.pos == end:
			p.pos++
			return spans, nil
		case p.expr[p.pos] != ',':
			return nil, p.fail(p.pos, "unexpected %q in a range", p.expr[p.pos:p.pos+1])
		}
		p.pos++
	}
}

func (p *parser) span() (span, error) {
	start := p.pos
	first, digits, err := p.number()
	if err != nil {
		return span{}, err
	}
	s := span{first: first, last: first, step: 1}
	if isPadded(first, digits) {
		s.width = digits
	}
	if p.expr[p.pos] != '-' {
		return s, nil
	}
	p.pos++
	if s.last, digits, err = p.number(); err != nil {
		return span{}, err
	}
	switch {
	case s.last < s.first:
		return span{}, p.fail(start, "the range %q ends before it starts", p.expr[start:p.pos])
	case isPadded(s.last, digits) && digits != s.width:
		return span{}, p.fail(start, "the range %q is padded to two widths", p.expr[start:p.pos])
	case p.expr[p.pos] != '/':
		return s, nil
	}
	p.pos++
	at := p.pos
	if s.step, _, err = p.number(); err != nil {
		return span{}, err
	}
	if s.step == 0 {
		return span{}, p.fail(at, "the step is 0")
	}
	return s, nil
}

// number reads a number of a range. At least "]" follows it.
func (p *parser) number() (value uint64, digits int, err error) {
	text, _ := cutDigits(p.expr[p.pos:])
	switch {
	case text == "":
		return 0, 0, p.fail(p.pos, "missing number")
	case len(text) > maxDigits:
		return 0, 0, p.fail(p.pos, "number of more than %d digits", maxDigits)
	}
	p.pos += len(text)
	return parseDigits(text), len(text), nil
}

// parseDigits returns the value of at most maxDigits digits.
func parseDigits(text string) uint64 {
	var value uint64
	for i := range len(text) {
		value = value*10 + uint64(text[i]-'0')
	}
	return value
}

// expand returns the names of a pattern, which begins at start.
func (p *parser) expand(pat pattern, start int) ([]string, error) {
	if len(pat) == 1 && pat[0].spans == nil && len(pat[0].text) <= maxName {
		return []string{pat[0].text}, p.spend(1, start)
	}
	names := uint64(1)
	for _, piece := range pat {
		var count uint64
		for _, s := range piece.spans {
			count += s.count()
		}
		// Both factors are at most maxNames.
		if names *= max(count, 1); names > maxNames {
			return nil, p.fail(start, tooManyNames)
		}
	}
	if err := p.spend(int(names), start); err != nil {
		return nil, err
	}
	e := expansion{names: make([]string, 0, names)}
	e.append(make([]byte, 0, maxName), pat)
	if e.reason != "" {
		return nil, p.fail(start, "%s", e.reason)
	}
	const bytesPerWork = 16
	return e.names, p.spend(e.size/bytesPerWork, start)
}

// An expansion holds the names made so far, or the reason why it failed.
type expansion struct {
	names  []string
	size   int             // in bytes, of the names with a comma each
	chunk  strings.Builder // many names share an allocation, but no name keeps all others alive
	reason string
}

// append adds the names that begin with prefix and continue with pat.
func (e *expansion) append(prefix []byte, pat pattern) {
	const chunkSize = 16 << 10
	switch {
	case e.reason != "":
	case len(prefix) > maxName:
		e.reason = tooLongName
	case len(pat) == 0:
		if e.size += len(prefix) + 1; e.size > maxText {
			e.reason = tooMuchText
			return
		}
		if e.chunk.Cap()-e.chunk.Len() < len(prefix) {
			e.chunk = strings.Builder{}
			e.chunk.Grow(min(chunkSize, cap(e.names)*len(prefix)))
		}
		from := e.chunk.Len()
		e.chunk.Write(prefix)
		e.names = append(e.names, e.chunk.String()[from:])
	case pat[0].spans == nil:
		e.append(append(prefix, pat[0].text...), pat[1:])
	default:
		for _, s := range pat[0].spans {
			for value := s.first; value <= s.last; value += s.step {
				e.append(appendPadded(prefix, value, s.width), pat[1:])
			}
		}
	}
}
