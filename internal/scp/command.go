package scp

import (
	"strings"

	"fleetssh/internal/shellquote"
)

// Command is how the scp program is started on a host.
type Command struct {
	// Path is on the host, and relative to the home directory unless it begins with a slash; "" means ".". It must not hold
	// a NUL byte. Nothing in it means anything to the host's shell: "~" is a file of that name.
	Path string
	// Glob lets the host's shell expand the characters * ? [ ] in Path; everything else in it is still quoted. It is for
	// [Command.From]. If nothing matches, most shells hand the pattern on, and scp says that there is no such file; zsh,
	// csh and fish say so themselves, and start nothing.
	Glob bool
	// Recursive wants directories with all that they contain.
	Recursive bool
	// Preserve keeps modes and times.
	Preserve bool
	// Directory demands that Path is a directory. It is for [Command.To].
	Directory bool
}

// To is the line for a host that is to receive: it talks to a [Source].
func (c Command) To() string { return c.line("-t") }

// From is the line for a host that is to send: it talks to a [Sink].
func (c Command) From() string { return c.line("-f") }

func (c Command) line(direction string) string {
	words := []string{"scp", direction}
	for _, option := range []struct {
		letter string
		wanted bool
	}{{"-r", c.Recursive}, {"-p", c.Preserve}, {"-d", c.Directory}} {
		if option.wanted {
			words = append(words, option.letter)
		}
	}
	path := c.Path
	if path == "" {
		path = "."
	}
	if c.Glob {
		path = quoteGlob(path)
	} else {
		path = shellquote.Quote(path)
	}
	return strings.Join(append(words, "--", path), " ")
}

// quoteGlob quotes a path but for the characters of patterns.
func quoteGlob(path string) string {
	const pattern = "*?[]"
	var b strings.Builder
	for path != "" {
		n := strings.IndexAny(path, pattern)
		if n < 0 {
			n = len(path)
		}
		if n > 0 {
			b.WriteString(shellquote.Quote(path[:n]))
			path = path[n:]
			continue
		}
		b.WriteByte(path[0])
		path = path[1:]
	}
	return b.String()
}
