package fleetshell

import (
	"errors"
	"io"
	"path"
	"regexp"
	"slices"
	"strings"

	"mvdan.cc/sh/v3/syntax"

	"fleetssh/cmd/fleetssh/internal/exit"
)

// A command may need several lines: a here-document, an open quote, "if" up to its "fi". Like a shell,
// we read until it is complete, so that no part of it runs alone.
//
// The grammar is bash's. Where bash would read on, the grammar of zsh is tried too: "{ echo a }"
// is complete in zsh. Text that neither grammar accepts is sent to the hosts unchanged, unless a quote
// or a here-document is open.

// command is a complete command, possibly of several lines.
type command struct {
	text       string
	statements []*syntax.Stmt // nil if the text cannot be parsed
}

// errUnfinished is the error for input that ends inside a command.
var errUnfinished = errors.New("the command is not complete: it was not run")

// maxZsh is the longest text, in bytes, that is tried with zsh's grammar after each further line.
const maxZsh = 4 << 10

// readCommand returns the command that begins with the line first. more returns further lines, without
// newlines. If more returns io.EOF, the error is errUnfinished; other errors of more are returned.
func readCommand(first string, more func() (string, error)) (command, error) {
	prefix, line := splitWord(first)
	if line == "" {
		return command{text: first}, nil
	}
	r := &commandReader{nextLine: more, pending: line + "\n"}
	r.text.WriteString(line)
	u := command{}
	parser := syntax.NewParser()
	for statements, err := range parser.InteractiveSeq(r) {
		// The sequence goes on after a break (v3.14.1), so nothing leaves it early.
		switch {
		case r.over || r.err != nil:
		case err != nil:
			u.statements, r.over = r.withoutGrammar(), true
		case !parser.Incomplete():
			u.statements, r.over = slices.Clone(statements), true
		default:
			if parsed, err := r.zsh(); err == nil {
				u.statements, r.over = parsed, true
			}
		}
	}
	u.text = prefix + r.text.String()
	if r.err == io.EOF {
		return u, errUnfinished
	}
	return u, r.err
}

// splitWord splits a line into a prefix for fleetssh itself, such as ":send FILE", and the command after
// it, which may be empty.
func splitWord(line string) (prefix, command string) {
	trimmed := strings.TrimLeft(line, " \t")
	at := 0
	switch {
	case strings.HasPrefix(trimmed, "!"):
		at = 1
	case strings.HasPrefix(trimmed, ":send "), strings.HasPrefix(trimmed, ":each "):
		name, rest, _ := strings.Cut(trimmed, " ")
		rest = strings.TrimLeft(rest, " ")
		file, command, _ := strings.Cut(rest, " ")
		if at = len(trimmed) - len(command); command == "" || name == "" || file == "" {
			return line, ""
		}
	case strings.HasPrefix(trimmed, ":"):
		return line, ""
	}
	at += len(line) - len(trimmed)
	return line[:at], line[at:]
}

// commandReader is the input of the parser. It reads another line whenever the parser needs one.
type commandReader struct {
	nextLine func() (string, error)
	text     strings.Builder
	pending  string
	over     bool // the command is complete
	err      error
}

func (r *commandReader) Read(p []byte) (int, error) {
	if r.over || r.pending == "" && !r.next() {
		return 0, io.EOF
	}
	n := copy(p, r.pending)
	r.pending = r.pending[n:]
	return n, nil
}

// next gets a further line.
func (r *commandReader) next() bool {
	if r.err != nil {
		return false
	}
	line, err := r.nextLine()
	if err != nil {
		r.err = err
		return false
	}
	r.text.WriteString("\n" + line)
	r.pending = line + "\n"
	return true
}

// zsh parses the text so far with zsh's grammar. The parser ignores a backslash at the end, so a text
// that ends in one counts as unfinished.
func (r *commandReader) zsh() ([]*syntax.Stmt, error) {
	text := r.text.String()
	if backslashes := len(text) - len(strings.TrimRight(text, `\`)); len(text) > maxZsh || backslashes%2 == 1 {
		return nil, errUnfinished
	}
	file, err := syntax.NewParser(syntax.Variant(syntax.LangZsh)).Parse(strings.NewReader(text+"\n"), "")
	if err != nil {
		return nil, err
	}
	return file.Stmts, nil
}

// withoutGrammar completes a command that bash's grammar does not accept.
func (r *commandReader) withoutGrammar() []*syntax.Stmt {
	for {
		text := r.text.String()
		parsed, err := r.zsh()
		if err == nil {
			return parsed
		}
		if !syntax.IsIncomplete(err) && !openQuote(text) && !openDocument(text) || !r.next() {
			return nil
		}
	}
}

// document matches the beginnings of here-documents, but not "<<<" or shifts such as 1<<2.
var document = regexp.MustCompile(`(?:^|[^<])<<-?[ \t]*(?:'([^'\n]+)'|"([^"\n]+)"|\\?([A-Za-z_][\w.-]*))`)

// openDocument reports whether a here-document has no end yet.
func openDocument(text string) bool {
	first, body, _ := strings.Cut(text, "\n")
	lines := strings.Split(body, "\n")
	for _, m := range document.FindAllStringSubmatch(first, -1) {
		word, found := m[1]+m[2]+m[3], false
		for i, line := range lines {
			if strings.TrimLeft(line, "\t") == word {
				lines, found = lines[i+1:], true
				break
			}
		}
		if !found {
			return true
		}
	}
	return false
}

// openQuote reports whether text ends inside a quote or in a backslash.
func openQuote(text string) bool {
	var quote byte
	word := true // a word may begin here
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case quote == '\'':
			if c == '\'' {
				quote = 0
			}
		case c == '\\':
			if i+1 == len(text) {
				return true
			}
			i++
		case quote == '"':
			if c == '"' {
				quote = 0
			}
		case c == '\'' || c == '"':
			quote = c
		case c == '#' && word:
			end := strings.IndexByte(text[i:], '\n')
			if end < 0 {
				return false
			}
			i += end
		}
		word = quote == 0 && strings.IndexByte(" \t\n;&|()", c) >= 0
	}
	return quote != 0
}

// check refuses a program that needs keys from a terminal, because there is none.
func (u command) check() error {
	if name := u.needsTerminal(); name != "" {
		return exit.UsageError("fleetssh run --tty -w HOST "+name+" …", "%s needs a terminal, and a line of the shell has none", name)
	}
	return nil
}

// needsTerminal returns the name of a program in u that waits for keys on a terminal, or an empty string.
// It does not look into functions that u defines.
func (u command) needsTerminal() string {
	name := ""
	for _, statement := range u.statements {
		syntax.Walk(statement, func(node syntax.Node) bool {
			switch node := node.(type) {
			case *syntax.FuncDecl:
				return false
			case *syntax.CallExpr:
				if found := terminalProgram(node.Args); found != "" && name == "" {
					name = found
				}
			}
			return true
		})
	}
	return name
}

// editors wait for keys, unless an option of withoutKeys is among their arguments. before are
// programs that run another program; options of withValue take a value.
var (
	editors     = regexp.MustCompile(`^(vi|vim|nvim|view|vimdiff|nano|pico|emacs|joe|jed|micro|mcedit|visudo|vipw|vigr|sudoedit)$`)
	withoutKeys = regexp.MustCompile(`^(-[eE]\w*|-es|-Es|-s|-c|-S|-h|-V|\+.*|--(batch|headless|help|version|script|check)|-batch)$|^-c.+`)
	before      = regexp.MustCompile(`^(sudo|env|exec|command|nice|nohup|time|doas)$`)
	withValue   = regexp.MustCompile(`^-[ugnCpT]$`)
)

// terminalProgram returns the name of the program that words run, if it waits for keys.
func terminalProgram(words []*syntax.Word) string {
	var args []string
	for _, w := range words {
		args = append(args, w.Lit()) // empty if the shell expands the word
	}
	for len(args) > 0 && before.MatchString(path.Base(args[0])) {
		runner := path.Base(args[0])
		for args = args[1:]; len(args) > 0 && (strings.HasPrefix(args[0], "-") || strings.Contains(args[0], "=")); args = args[1:] {
			switch option := args[0]; {
			case runner == "sudo" && (option == "-e" || option == "--edit"):
				return "sudo -e"
			case runner == "command" && (option == "-v" || option == "-V"):
				return ""
			case withValue.MatchString(option) && len(args) > 1:
				args = args[1:]
			}
		}
	}
	if len(args) == 0 {
		return ""
	}
	name := path.Base(args[0])
	if name == "crontab" && slices.Contains(args, "-e") {
		return "crontab -e"
	}
	if !editors.MatchString(name) || slices.ContainsFunc(args[1:], withoutKeys.MatchString) {
		return ""
	}
	return name
}
