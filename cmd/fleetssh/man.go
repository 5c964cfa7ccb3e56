package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"fleetssh/cmd/fleetssh/internal/exit"
	"fleetssh/cmd/fleetssh/internal/termline"
)

const manHelp = `Write manual pages for all verbs. They say what --help says.

  fleetssh man ~/.local/share/man/man1
  man fleetssh-run

usage: fleetssh man [DIR]

The pages go to DIR, which is made if it is missing, or else to the current
directory. Pages that are there are written anew.

`

func newMan(c *call) *cobra.Command {
	return &cobra.Command{
		Use:  "man",
		Long: manHelp,
		RunE: func(cmd *cobra.Command, args []string) error {
			dir := "."
			switch len(args) {
			case 0:
			case 1:
				dir = args[0]
			default:
				return exit.UsageError("fleetssh man --help", "man takes one directory")
			}
			return writeManual(cmd.Root(), dir, c.screen)
		},
	}
}

// writeManual writes a page for the program and one for each verb, and says which.
func writeManual(root *cobra.Command, dir string, screen *termline.Screen) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	for _, cmd := range append(verbsBelow(root), root) {
		name := filepath.Join(dir, manName(cmd)+".1")
		if err := writeWhole(name, 0o666, writeAll([]byte(manualPage(cmd)))); err != nil {
			return err
		}
		screen.Out("", termline.Visible(name))
	}
	return nil
}

// manName is what the page of a verb is called.
func manName(cmd *cobra.Command) string { return strings.ReplaceAll(cmd.CommandPath(), " ", "-") }

// manualPage makes a page of the help.
func manualPage(cmd *cobra.Command) string {
	help := parseHelp(cmd.Long + exit.Help())
	var r roff
	r.request("TH", strings.ToUpper(manName(cmd)), "1", "", "fleetssh", "fleetssh")
	r.request("SH", "NAME")
	first := help.first()
	r.text(manName(cmd) + " - " + strings.ToLower(first[:1]) + first[1:])
	usage := help.usage()
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

// roff is a page in the making.
type roff struct{ strings.Builder }

// request writes a line that is an instruction.
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

// roffText makes text of characters that mean something else to roff.
func roffText(text string) string {
	return strings.NewReplacer(`\`, `\e`, `-`, `\-`, `"`, `\(dq`, `^`, `\(ha`, `~`, `\(ti`, "`", `\(ga`).Replace(text)
}

// body writes what stands below the synopsis: what the help says before its first
// title, the examples, and the rest in its order.
func (r *roff) body(help helpParts) {
	titles := slices.IndexFunc(help, func(p helpPart) bool { return p.kind == helpTitle })
	r.request("SH", "DESCRIPTION")
	for _, p := range help[:titles] {
		if p.kind == helpProse || p.kind == helpRow {
			r.part(p)
		}
	}
	r.request("SH", "EXAMPLES")
	for _, p := range help[:titles] {
		if p.kind == helpExample {
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
		case p.kind == helpTitle && strings.HasPrefix(p.lines[0], "Exit codes"):
			r.request("SH", "EXIT STATUS")
			r.text(p.lines[0] + ":")
		case p.kind == helpTitle:
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
func (r *roff) part(p helpPart) {
	if p.kind == helpRow {
		r.request("TP")
		r.WriteString(roffTerm(p.term) + "\n")
	} else {
		r.request("PP")
	}
	r.paragraph(p.lines)
}

// paragraph writes lines that are filled, but for those that are set apart: lists
// of words with what they mean, and columns.
func (r *roff) paragraph(lines []string) {
	for i, line := range lines {
		if i > 0 && (setApart(line) || strings.Contains(lines[i-1], "  ")) {
			r.request("br")
		}
		r.text(line)
	}
}

// setApart reports whether a line begins with "word: ", or holds columns.
func setApart(line string) bool {
	word, _, ok := strings.Cut(line, " ")
	return ok && strings.HasSuffix(word, ":") || strings.Contains(line, "  ")
}

// roffTerm writes options bold and what stands for their values in italics.
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
