// Package mark makes texts by which what runs on a host says something about itself
// in the midst of other output: that a command begins, or that a line has ended.
//
// The command line that makes a host write a mark never holds the mark as it is
// written. Whatever quotes that line (sudo when it refuses, a shell that traces, ps,
// an error message) therefore says nothing.
package mark

import (
	"crypto/rand"
	"strings"
)

// Mark is one such text: random, of letters, digits and one percent sign, which no
// shell has to be kept from. It stands nowhere by chance.
type Mark struct {
	// Left and Right make the mark when one follows the other directly. Right
	// begins with the percent sign.
	Left, Right string
}

// halfLength is the number of bytes of each half: 128 bits are in one alone.
const halfLength = 26

// New returns a new mark.
func New() Mark {
	return Mark{Left: rand.Text()[:halfLength], Right: "%" + rand.Text()[:halfLength-1]}
}

// String returns the mark as the host is to write it. It must not be sent there.
func (m Mark) String() string { return m.Left + m.Right }

// Escaped returns the mark for what makes one percent sign of two: the format of
// printf(1), and the prompt of sudo(8).
func (m Mark) Escaped() string { return strings.ReplaceAll(m.String(), "%", "%%") }

// Traces returns the texts by which a line that holds the mark escaped, or in
// halves, is known.
func (m Mark) Traces() []string { return []string{m.Left, strings.TrimPrefix(m.Right, "%")} }
