// Package sentinel makes sentinels: random texts that a program on a host prints among other output
// to report something, such as that a command begins or that a line has ended.
//
// The command line that makes a host print a sentinel does not contain it in the printed form.
// Whatever quotes the command line (a refusal of sudo, a shell that traces, ps, an error message)
// is therefore never taken for a report.
package sentinel

import (
	"crypto/rand"
	"strings"
)

// Text is a sentinel. It consists of letters, digits and one percent sign, so no shell needs it
// quoted. It is random and long enough never to appear by chance.
type Text struct {
	// Left and Right, printed one directly after the other, are the sentinel. Right begins with the
	// percent sign.
	Left, Right string
}

// halfLength is the length of each half in bytes. One half alone holds about 128 random bits.
const halfLength = 26

// New returns a new sentinel.
func New() Text {
	return Text{Left: rand.Text()[:halfLength], Right: "%" + rand.Text()[:halfLength-1]}
}

// String returns the sentinel as the host prints it. A command line must not contain it.
func (t Text) String() string { return t.Left + t.Right }

// Escaped returns the sentinel for programs that print "%" for "%%": the format of printf(1), and
// the prompt of sudo(8).
func (t Text) Escaped() string { return strings.ReplaceAll(t.String(), "%", "%%") }

// Traces returns the texts by which to recognize a command line that contains the sentinel escaped
// or in halves.
func (t Text) Traces() []string { return []string{t.Left, strings.TrimPrefix(t.Right, "%")} }
