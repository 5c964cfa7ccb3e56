package help

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// PageName returns the name of the manual page of a verb.
func PageName(cmd *cobra.Command) string { return strings.ReplaceAll(cmd.CommandPath(), " ", "-") }

// Page returns the manual page of a verb, for roff. It has the content of the help.
func Page(cmd *cobra.Command) string {
	help := Parse(Text(cmd))
	var r roff
	r.request("TH", strings.ToUpper(PageName(cmd)), "1", "", "fleetssh", "fleetssh")
	r.request("SH", "NAME")
	first := help.Summary()
	r.text(PageName(cmd) + " - " + strings.ToLower(first[:1]) + first[1:])
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
	r.request("SH", "SEE ALSO")
	if cmd.HasParent() {
		r.text("fleetssh(1), ssh(1)")
	} else {
		r.text("ssh(1), ssh_config(5), sshd(8)")
	}
	return r.String()
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
			r.request("PP")
			r.request("nf")
			for _, line := range p.lines {
				r.text(line)
			}
			r.request("fi")
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
