// Package personality translates the command lines of other tools: called as pdsh, clush or pssh, or
// with --as, the program accepts their options. The package only translates; it runs nothing.
package personality

import (
	"path/filepath"
	"slices"
	"strings"

	"fleetssh/cmd/fleetssh/internal/termline"
)

// A personality is another tool whose command lines are translated. Each of its options is a row of a
// table. An option without a row is an error: none is dropped silently.
type personality struct {
	name    string
	aliases []string // other names of the tool
	intro   string   // the beginning of its help text
	verb    string   // our verb for it
	options []toolOption
	env     []envOption
	finish  func(*translation) error // adds options that depend on the whole command line
}

// toolOption is an option of another tool. It is renamed to one of ours (ours), translated by take, or
// not supported (unsupported). With none of these it is ignored.
type toolOption struct {
	names       []string // as in "-f" and "--fanout"
	value       string   // the placeholder of its value; empty: it takes none
	words       bool     // it takes all words up to the next option
	ours        string
	take        func(t *translation, value string) error
	becomes     string   // the description of take; empty: our option's
	unsupported string   // the alternative to an unsupported option
	replacement []string // replaces the whole command line
}

// envOption is an environment variable that is used if its option is not given.
type envOption struct{ variable, option string }

// personalities returns the tools that the program can be called as.
func personalities() []*personality {
	return []*personality{
		pdshPersonality(), pdcpPersonality(), rpdcpPersonality(), clushPersonality(),
		psshPersonality(), pscpPersonality(), pslurpPersonality(), dshbakPersonality(),
	}
}

// personalityOf returns the tool of a name, or nil.
func personalityOf(name string) *personality {
	for _, p := range personalities() {
		if name == p.name || slices.Contains(p.aliases, name) {
			return p
		}
	}
	return nil
}

// CalledAs returns the arguments of a process. If it was started under the name of another tool, --as
// and the tool come first.
func CalledAs(argv []string) []string {
	if len(argv) == 0 {
		return nil
	}
	name := strings.TrimSuffix(filepath.Base(argv[0]), ".exe")
	if p := personalityOf(name); p != nil {
		return append([]string{"--as", p.name}, argv[1:]...)
	}
	return argv[1:]
}

// find returns an option and its full name, or nil. A long name may be abbreviated if that is
// unambiguous.
func (p *personality) find(name string) (*toolOption, string) {
	var found *toolOption
	var full string
	near := 0
	for i := range p.options {
		for _, n := range p.options[i].names {
			if n == name {
				return &p.options[i], n
			}
			if len(name) > 2 && strings.HasPrefix(n, name) {
				found, full = &p.options[i], n
				near++
			}
		}
	}
	if near != 1 {
		return nil, ""
	}
	return found, full
}

// spelling returns the option as the help and the documentation write it.
func (o *toolOption) spelling() string {
	text := strings.Join(o.names, ", ")
	if o.value != "" {
		text += " " + o.value
	}
	return text
}

// meaning returns what the help and the documentation say about the option.
func (o *toolOption) meaning() string {
	switch {
	case o.unsupported != "":
		return "not supported: " + o.unsupported
	case o.becomes != "":
		return o.becomes
	case o.value != "":
		return o.ours + " " + o.value
	}
	return o.ours
}

// Help returns the help text of a tool, with the table of its options. It is empty for an unknown tool.
func Help(tool string) string {
	p := personalityOf(tool)
	if p == nil {
		return ""
	}

	var b strings.Builder
	b.WriteString(p.intro)
	b.WriteString("\n\nOptions, and what they mean:\n")
	for i := range p.options {
		o := &p.options[i]
		spelling := "  " + o.spelling()
		if len(spelling) > 26 {
			b.WriteString(spelling + "\n")
			spelling = ""
		}
		b.WriteString(spelling + strings.Repeat(" ", 28-len(spelling)))
		b.WriteString(termline.Wrap(o.meaning(), 28, 80) + "\n")
	}
	if len(p.env) > 0 {
		b.WriteString("\nEnvironment variables, used where the option is not given:\n")
		for _, e := range p.env {
			b.WriteString("  " + e.variable + strings.Repeat(" ", 26-len(e.variable)) + e.option + "\n")
		}
	}
	b.WriteByte('\n')
	return b.String()
}
