package help

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// PageName returns the name of the manual page of a verb.
func PageName(cmd *cobra.Command) string { return strings.ReplaceAll(cmd.CommandPath(), " ", "-") }

// Page returns the manual page of a verb, for roff. It has the content of the help, and the rows of two
// topics as its sections FILES and ENVIRONMENT, unless the verb neither chooses hosts nor looks back at
// runs.
func Page(cmd *cobra.Command, files, environment Parts) string {
	help := Parse(Text(cmd))
	var r roff
	r.head(PageName(cmd), "1", help)
	usage := help.Usage()
	if usage == nil {
		usage = []string{cmd.CommandPath() + " VERB [options] [ARGUMENT...]"}
	}
	r.request("SH", "SYNOPSIS")
	for i, line := range usage {
		if i > 0 {
			r.request("br")
		}
		r.text(line)
	}
	r.body(help)
	if !cmd.HasParent() || cmd.Flags().Lookup("hosts") != nil || strings.Contains(cmd.Name(), "run") {
		r.request("SH", "FILES")
		r.sections(files, "SS")
		r.request("SH", "ENVIRONMENT")
		r.sections(environment, "SS")
	}
	r.request("SH", "SEE ALSO")
	if cmd.HasParent() {
		r.text("fleetssh(1), fleetssh-hosts(7), fleetssh-exit-codes(7), ssh(1)")
	} else {
		r.text("fleetssh-run(1), fleetssh-hosts(7), ssh(1), ssh_config(5), sshd(8)")
	}
	return r.String()
}

// TopicPage returns the manual page of a topic.
func TopicPage(name, text string) string {
	help := Parse(text)
	var r roff
	r.head("fleetssh-"+name, "7", help)
	titles := slices.IndexFunc(help, func(p part) bool { return p.kind == title })
	r.request("SH", "DESCRIPTION")
	for _, p := range help[:titles] {
		if p.kind == example {
			r.example(p)
		} else {
			r.part(p)
		}
	}
	r.sections(help, "SH")
	r.request("SH", "SEE ALSO")
	r.text("fleetssh(1)")
	return r.String()
}

// head writes the title and the section NAME.
func (r *roff) head(name, section string, help Parts) {
	r.request("TH", strings.ToUpper(name), section, "", "fleetssh", "fleetssh")
	r.request("SH", "NAME")
	first := help.Summary()
	r.text(name + " - " + strings.ToLower(first[:1]) + first[1:])
}

// sections writes what begins with the first title. request begins a section.
func (r *roff) sections(help Parts, request string) {
	from := slices.IndexFunc(help, func(p part) bool { return p.kind == title })
	for _, p := range help[max(from, 0):] {
		if p.kind == title {
			name, more := p.lines[0], ""
			if request == "SH" {
				name, more = cutTitle(name)
			}
			r.request(request, name)
			if more != "" {
				r.text(more)
			}
			continue
		}
		r.part(p)
	}
}

// cutTitle returns the title of a section, and what the title says besides.
func cutTitle(title string) (name, more string) {
	name = title
	if i := strings.IndexAny(title, ",("); i > 0 {
		name, more = strings.TrimSpace(title[:i]), strings.TrimSpace(title[i+1:])
		if title[i] == '(' {
			more = strings.TrimSuffix(more, ")")
		}
		more = strings.ToUpper(more[:1]) + more[1:] + "."
	}
	return strings.ToUpper(name), more
}

// example writes lines as they are.
func (r *roff) example(p part) {
	r.request("PP")
	r.request("nf")
	for _, line := range p.lines {
		r.text(line)
	}
	r.request("fi")
}

// roff builds a manual page.
type roff struct{ strings.Builder }

// request writes a request, such as .SH, with quoted arguments.
func (r *roff) request(name string, args ...string) {
	r.WriteString("." + name)
	for _, arg := range args {
		r.WriteString(" \"" + roffText(arg) + "\"")
	}
	r.WriteByte('\n')
}

// text writes a line of text.
func (r *roff) text(line string) {
	line = roffText(line)
	if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
		line = `\&` + line
	}
	r.WriteString(line + "\n")
}

// roffText escapes the characters that are special to roff.
func roffText(text string) string {
	return strings.NewReplacer(`\`, `\e`, `-`, `\-`, `"`, `\(dq`, `^`, `\(ha`, `~`, `\(ti`, "`", `\(ga`).Replace(text)
}

// body writes the sections after the synopsis: the text before the first title, the examples, and the
// rest in its order.
func (r *roff) body(help Parts) {
	titles := slices.IndexFunc(help, func(p part) bool { return p.kind == title })
	r.request("SH", "DESCRIPTION")
	for _, p := range help[:titles] {
		if p.kind == prose || p.kind == row {
			r.part(p)
		}
	}
	r.request("SH", "EXAMPLES")
	for _, p := range help[:titles] {
		if p.kind == example {
			r.example(p)
		}
	}
	options := false
	for _, p := range help[titles:] {
		switch {
		case p.kind == title && strings.HasPrefix(p.lines[0], "Exit codes"):
			r.request("SH", "EXIT STATUS")
			r.text(p.lines[0] + ":")
		case p.kind == title:
			if !options {
				r.request("SH", "OPTIONS")
				options = true
			}
			r.request("SS", p.lines[0])
		default:
			r.part(p)
		}
	}
}

// part writes a row or a paragraph.
func (r *roff) part(p part) {
	if p.kind == row {
		r.request("TP")
		r.WriteString(roffTerm(p.term) + "\n")
	} else {
		r.request("PP")
	}
	r.paragraph(p.lines)
}

// paragraph writes lines that roff may fill. Definition lists and columns keep their line breaks.
func (r *roff) paragraph(lines []string) {
	for i, line := range lines {
		if i > 0 && (setApart(line) || strings.Contains(lines[i-1], "  ")) {
			r.request("br")
		}
		r.text(line)
	}
}

// setApart reports whether a line begins with "word: " or has columns.
func setApart(line string) bool {
	word, _, ok := strings.Cut(line, " ")
	return ok && strings.HasSuffix(word, ":") || strings.Contains(line, "  ")
}

// roffTerm formats options in bold and placeholders of values in italics.
func roffTerm(term string) string {
	words := strings.Fields(term)
	for i, word := range words {
		font := "B"
		if i > 0 && !isOption(word) && isOption(words[0]) {
			font = "I"
		}
		name, comma := strings.CutSuffix(word, ",")
		words[i] = `\f` + font + roffText(name) + `\fR`
		if comma {
			words[i] += ","
		}
	}
	return strings.Join(words, " ")
}
