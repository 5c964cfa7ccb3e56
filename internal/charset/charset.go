// Package charset encodes and decodes text in character sets, and finds line ends in encoded text.
package charset

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/ianaindex"
)

// Set is a character set. A nil *Set is UTF-8. Its methods may be called concurrently.
type Set struct {
	name   string
	enc    encoding.Encoding
	nl, cr string // "\n" and "\r" encoded; the length of each character is a multiple of theirs
}

// Find returns the character set with an IANA name, nil for UTF-8. The empty name means UTF-8.
func Find(name string) (*Set, error) {
	if name == "" || strings.EqualFold(name, "utf-8") || strings.EqualFold(name, "utf8") {
		return nil, nil
	}
	enc, err := ianaindex.IANA.Encoding(name)
	if err != nil || enc == nil {
		return nil, fmt.Errorf("character set %q is not known", name)
	}
	if canonical, err := ianaindex.IANA.Name(enc); err == nil && canonical == "UTF-16" {
		return nil, fmt.Errorf("character set %q leaves the order of bytes open: name UTF-16LE or UTF-16BE", name)
	}
	c := &Set{name: name, enc: enc}
	if c.nl, err = c.Encode("\n"); err != nil {
		return nil, fmt.Errorf("character set %q has no line end", name)
	}
	if c.cr, err = c.Encode("\r"); err != nil {
		return nil, fmt.Errorf("character set %q has no carriage return", name)
	}
	return c, nil
}

// Name returns the name given to [Find], "UTF-8" for a nil Set.
func (c *Set) Name() string {
	if c == nil {
		return "UTF-8"
	}
	return c.name
}

// Encode returns s encoded in the character set. The text of the error is to be appended to a name
// of s: "cannot be written in …".
func (c *Set) Encode(s string) (string, error) {
	if c == nil {
		return s, nil
	}
	out, err := c.enc.NewEncoder().String(s)
	if err != nil {
		return "", fmt.Errorf("cannot be written in %s: %w", c.name, err)
	}
	return out, nil
}

// Decode returns an encoded line as UTF-8. If the line is not valid, Decode returns it unchanged,
// and false.
func (c *Set) Decode(line string) (text string, ok bool) {
	if c == nil {
		return line, utf8.ValidString(line)
	}
	text, err := c.enc.NewDecoder().String(line)
	if err != nil {
		return line, false
	}
	if strings.ContainsRune(text, '\uFFFD') {
		// Either the line contains U+FFFD itself or it is not valid.
		if back, err := c.enc.NewEncoder().String(text); err != nil || back != line {
			return line, false
		}
	}
	return text, true
}

// CutLine cuts the encoded text s after its first line. It returns the line without its line end
// ("\n" or "\r\n"). found is false if s contains no line end; line is then s.
func (c *Set) CutLine(s string) (line, rest string, found bool) {
	nl, cr := "\n", "\r"
	if c != nil {
		nl, cr = c.nl, c.cr
	}
	i := strings.Index(s, nl)
	for unit := len(nl); i >= 0 && i%unit != 0; {
		k := strings.Index(s[i+1:], nl) // a match across two characters does not count
		if k < 0 {
			i = -1
			break
		}
		i += 1 + k
	}
	if i < 0 {
		return s, "", false
	}
	return strings.TrimSuffix(s[:i], cr), s[i+len(nl):], true
}

// LastLineEnd returns the index after the last line end in data, 0 if there is none. before is the
// beginning of the line that data continues.
func (c *Set) LastLineEnd(before, data []byte) int {
	if c == nil {
		return bytes.LastIndexByte(data, '\n') + 1
	}
	nl := []byte(c.nl)
	if len(nl) == 1 {
		return bytes.LastIndexByte(data, nl[0]) + 1
	}
	// One character may be split between before and data.
	unit := len(nl)
	joined := append(before[len(before)-len(before)%unit:len(before):len(before)], data...)
	shift := len(joined) - len(data)
	for i := len(joined) / unit * unit; i >= unit; i -= unit {
		if bytes.Equal(joined[i-unit:i], nl) {
			return i - shift
		}
	}
	return 0
}

// PieceEnd returns where to cut a line that is longer than limit: at limit or up to three bytes
// before. It does not split a UTF-8 character; in other character sets it cuts at a multiple of
// the length of a line end.
func (c *Set) PieceEnd(line []byte, limit int) int {
	end := limit
	if c != nil {
		return end - end%len(c.nl)
	}
	for back := 0; back < 3 && line[end]&0xC0 == 0x80; back++ {
		end--
	}
	return end
}
