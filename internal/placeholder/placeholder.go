// Package placeholder fills in placeholders in a text such as a command line:
//
//	%s %q                  the next value of a list
//	%(name)s %(name)q      the value of that name
//	%%                     a percent sign
//
// %q quotes the value for a shell.
package placeholder

import (
	"fmt"
	"strings"

	"fleetssh/internal/shellquote"
)

// Error says which placeholder cannot be filled in, or that a value is left over.
type Error struct {
	Name   string // the placeholder as written, shortened; empty if a value is left over
	Reason string
}

// Error implements [error].
func (e *Error) Error() string {
	if e.Name == "" {
		return e.Reason
	}
	return fmt.Sprintf("%q: %s", e.Name, e.Reason)
}

// Expand returns line with its placeholders filled in. All values of list must be used, those of
// named need not be. Placeholders in values are not filled in. The error is an [*Error].
func Expand(line string, list []string, named map[string]string) (string, error) {
	var b strings.Builder
	b.Grow(len(line) + 32)
	used, rest := 0, line
	for {
		i := strings.IndexByte(rest, '%')
		if i < 0 {
			break
		}
		b.WriteString(rest[:i])
		rest = rest[i:]
		name, verb, size, err := next(rest)
		if err != nil {
			return "", err
		}
		place := rest[:size]
		rest = rest[size:]
		var value string
		switch {
		case verb == '%':
			b.WriteByte('%')
			continue
		case name != nil:
			v, ok := named[*name]
			if !ok {
				return "", &Error{Name: place, Reason: "no value of this name"}
			}
			value = v
		default:
			if used == len(list) {
				return "", &Error{Name: place, Reason: fmt.Sprintf("only %d values given", len(list))}
			}
			value = list[used]
			used++
		}
		if strings.IndexByte(value, 0) >= 0 {
			return "", &Error{Name: place, Reason: "the value holds a NUL byte"}
		}
		if verb == 'q' {
			value = shellquote.Quote(value)
		}
		b.WriteString(value)
	}
	b.WriteString(rest)
	if used < len(list) {
		return "", &Error{Reason: fmt.Sprintf("%d values given, the line takes %d", len(list), used)}
	}
	return b.String(), nil
}

// next reads the placeholder at the beginning of s. name is nil if the placeholder has no name.
func next(s string) (name *string, verb byte, size int, err error) {
	i := 1
	if i < len(s) && s[i] == '(' {
		end := strings.IndexByte(s, ')')
		if end < 0 {
			return nil, 0, 0, &Error{Name: clip(s), Reason: `missing ")"`}
		}
		n := s[2:end]
		name, i = &n, end+1
	}
	if i == len(s) {
		return nil, 0, 0, &Error{Name: clip(s), Reason: "the line ends in the middle of a placeholder; write %% for a percent sign"}
	}
	verb = s[i]
	if verb != 's' && verb != 'q' && (verb != '%' || name != nil) {
		return nil, 0, 0, &Error{Name: clip(s[:i+1]), Reason: "unknown verb; known are %s, %q, %(name)s, %(name)q and %%"}
	}
	return name, verb, i + 1, nil
}

// clip shortens s for an error message.
func clip(s string) string {
	const most = 40
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}
