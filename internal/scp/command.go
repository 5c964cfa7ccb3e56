package scp

import (
	"strings"

	"fleetssh/internal/shellquote"
)

// Command describes the scp program to start on a host.
type Command struct {
	// Path is a path on the host, relative to the home directory unless it begins with a slash. ""
	// means ".". It must not hold a NUL byte. It is quoted for the host's shell: "~" is a file of
	// that name.
	Path string
	// Glob lets the host's shell expand the characters * ? [ ] in Path; everything else in it is
	// still quoted. It is used by [Command.From]. If nothing matches, most shells pass the pattern
	// on, and scp reports that there is no such file. zsh, csh and fish report it themselves and
	// start nothing.
	Glob bool
	// Recursive copies directories with their content.
	Recursive bool
	// Preserve keeps modes and times.
	Preserve bool
	// Directory demands that Path is a directory. It is used by [Command.To].
	Directory bool
}

// To returns the command line for a receiving host. The program talks to a [Source].
func (c Command) To() string { return c.line("-t") }

// From returns the command line for a sending host. The program talks to a [Sink].
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

// quoteGlob quotes a path except for the characters of patterns.
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
