// Package help parses the help texts of the verbs, and derives from them manual pages, shell
// completions, and suggestions for mistyped verbs and flags.
package help

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"fleetssh/cmd/fleetssh/internal/exit"
)

// Parts are the parsed help text of a verb, for manual pages and completion. Help texts have these forms
// and no other markup:
//
//	text                      prose
//	usage: fleetssh run ...   once; alternatives follow in indented lines
//	Title:                    above rows; also above the exit codes
//	  -x, --name VALUE  text  a row, continued in deeply indented lines
//	  word  text              also a row, below a title or the usage
//	  fleetssh run ...        a line of an example
type Parts []part

// part is a paragraph, an example, a title or a row.
type part struct {
	kind  partKind
	term  string   // the term of a row
	lines []string // the text, with the line breaks of the help
}

type partKind int

const (
	prose partKind = iota
	example
	usage
	title
	row
)

// rowIndent is the least indentation of lines that continue a row.
const rowIndent = 8

// Parse parses a help text.
func Parse(text string) Parts {
	var parts Parts
	open := false // the next line may continue the last part
	rows := false // after a title or the usage
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		trimmed := strings.TrimLeft(line, " ")
		indent := len(line) - len(trimmed)
		var last *part
		if len(parts) > 0 && open {
			last = &parts[len(parts)-1]
		}
		switch {
		case trimmed == "":
			open = false
			continue
		case last != nil && last.kind == row && indent >= rowIndent:
			last.lines = append(last.lines, trimmed)
			continue
		case last != nil && last.kind == usage && indent > 0:
			last.lines = append(last.lines, trimmed)
			continue
		case strings.HasPrefix(line, "usage: "):
			parts = append(parts, part{kind: usage, lines: []string{strings.TrimPrefix(line, "usage: ")}})
			rows = true
		case indent == 0 && strings.HasSuffix(line, ":") && last == nil:
			parts = append(parts, part{kind: title, lines: []string{strings.TrimSuffix(line, ":")}})
			rows = true
		case indent > 0 && (isOption(trimmed) || rows && (strings.Contains(trimmed, "  ") || isPath(trimmed))):
			term, text := cutTerm(trimmed)
			row := part{kind: row, term: term}
			if text != "" {
				row.lines = []string{text}
			}
			parts = append(parts, row)
		case indent > 0 && !rows:
			if last != nil && last.kind == example {
				last.lines = append(last.lines, line[2:])
				continue
			}
			parts = append(parts, part{kind: example, lines: []string{line[2:]}})
		case last != nil && last.kind == prose:
			last.lines = append(last.lines, trimmed)
			continue
		default:
			parts = append(parts, part{kind: prose, lines: []string{trimmed}})
		}
		open = true
	}
	return parts
}

func isOption(text string) bool {
	return strings.HasPrefix(text, "-") && len(text) > 1 && text[1] != ' '
}

// isPath reports whether a line is a term of its own: a path, or several.
func isPath(text string) bool { return strings.HasPrefix(text, "~/") || strings.HasPrefix(text, "/") }

// cutTerm splits a row into the term and its text. After a long term a single space separates them.
func cutTerm(row string) (term, text string) {
	if term, text, ok := strings.Cut(row, "  "); ok && (!isOption(row) || len(strings.Fields(term)) <= 3) {
		return term, strings.TrimLeft(text, " ")
	}
	if !isOption(row) {
		return row, ""
	}
	words := strings.Split(row, " ")
	n := 1
	for n < len(words) && (isOption(words[n]) || isValue(words[n])) {
		n++
	}
	return strings.Join(words[:n], " "), strings.Join(words[n:], " ")
}

// isValue reports whether a word is the placeholder of a value, as in "--name VALUE".
func isValue(word string) bool { return word != "" && strings.ToUpper(word) == word }

// Verbs returns all verbs of the program, including those below other verbs.
func Verbs(cmd *cobra.Command) []*cobra.Command {
	var all []*cobra.Command
	for _, verb := range cmd.Commands() {
		if verb.Long != "" && verb.Name() != cobra.ShellCompRequestCmd {
			all = append(append(all, verb), Verbs(verb)...)
		}
	}
	return all
}

// localVerbs contact no host.
var localVerbs = []string{"hosts", "explain", "runs", "completion", "man", "version", "dshbak"}

// Text returns the help of a verb, including the exit codes.
func Text(cmd *cobra.Command) string {
	words := strings.Fields(cmd.CommandPath())
	if len(words) > 1 && slices.Contains(localVerbs, words[1]) {
		return cmd.Long + exit.LocalHelp()
	}
	return cmd.Long + exit.Help()
}

// Summary returns the first sentence, without its full stop.
func (h Parts) Summary() string {
	for _, p := range h {
		if p.kind == prose {
			sentence, _, _ := strings.Cut(strings.Join(p.lines, " "), ". ")
			return strings.TrimSuffix(sentence, ".")
		}
	}
	return ""
}

// Usage returns the lines after "usage:".
func (h Parts) Usage() []string {
	for _, p := range h {
		if p.kind == usage {
			return p.lines
		}
	}
	return nil
}

// Option returns the placeholder of the value of a flag, and a short description.
func (h Parts) Option(name string) (value, text string) {
	for _, p := range h {
		if p.kind != row {
			continue
		}
		words := strings.Fields(p.term)
		for i, word := range words {
			if strings.TrimSuffix(word, ",") != "--"+name {
				continue
			}
			if i+1 < len(words) && !isOption(words[i+1]) {
				value = words[i+1]
			}
			return value, shorten(p.lines)
		}
	}
	return "", ""
}

// longClause is how long a clause may be before a colon ends it.
const longClause = 100

// shorten returns the first clause of the text of a row: shells show one line.
func shorten(lines []string) string {
	var words []string
	for i, line := range lines {
		if name, _, ok := strings.Cut(line, ":"); i > 0 && ok && !strings.Contains(name, " ") {
			break // the next of several values
		}
		words = append(words, line)
	}
	text := strings.Join(words, " ")
	for _, end := range []string{". ", "; ", ": "} {
		before, _, ok := strings.Cut(text, end)
		if !ok || strings.Count(before, "(") != strings.Count(before, ")") ||
			end == ": " && (len(text) <= longClause || len(strings.Fields(before)) < 3) {
			continue
		}
		text = before
	}
	return strings.TrimRight(text, ".,")
}
