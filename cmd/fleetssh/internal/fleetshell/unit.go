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

// What is typed may need more than a line: a here-document, a quote, "if" without its
// "fi". A shell goes on asking then, and so do we: a part of a command must not run on
// all hosts, nor the lines behind it by themselves.
//
// The grammar is that of bash, and where bash would go on asking, zsh's is looked at too:
// "{ echo a }" is whole for zsh. What neither understands is for the hosts to judge, but
// for open quotes and here-documents.

// unit is what runs on the hosts at once.
type unit struct {
	text       string
	statements []*syntax.Stmt // nil if the grammar is not understood
}

// errUnfinished says that the input has ended in the middle of a unit.
var errUnfinished = errors.New("the command is not complete: it was not run")

// mostZsh bounds what is read with zsh's grammar after each further line.
const mostZsh = 4 << 10

// readUnit completes first with the lines that more returns, without their ends. If more
// returns io.EOF, the error is errUnfinished, otherwise what more has returned.
func readUnit(first string, more func() (string, error)) (unit, error) {
	prefix, command := splitWord(first)
	if command == "" {
		return unit{text: first}, nil
	}
	r := &unitReader{more: more, pending: command + "\n"}
	r.text.WriteString(command)
	u := unit{}
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

// splitWord takes what is for fleetssh itself from the beginning of a line. The command
// behind it is empty if there is none.
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

// unitReader gives a parser one line after another, as it needs them.
type unitReader struct {
	more    func() (string, error)
	text    strings.Builder
	pending string
	over    bool // the unit is whole
	err     error
}

func (r *unitReader) Read(p []byte) (int, error) {
	if r.over || r.pending == "" && !r.next() {
		return 0, io.EOF
	}
	n := copy(p, r.pending)
	r.pending = r.pending[n:]
	return n, nil
}

// next takes another line.
func (r *unitReader) next() bool {
	if r.err != nil {
		return false
	}
	line, err := r.more()
	if err != nil {
		r.err = err
		return false
	}
	r.text.WriteString("\n" + line)
	r.pending = line + "\n"
	return true
}

// zsh parses what is there with zsh's grammar. The parser takes a backslash at the end
// for nothing.
func (r *unitReader) zsh() ([]*syntax.Stmt, error) {
	text := r.text.String()
	if backslashes := len(text) - len(strings.TrimRight(text, `\`)); len(text) > mostZsh || backslashes%2 == 1 {
		return nil, errUnfinished
	}
	file, err := syntax.NewParser(syntax.Variant(syntax.LangZsh)).Parse(strings.NewReader(text+"\n"), "")
	if err != nil {
		return nil, err
	}
	return file.Stmts, nil
}

// withoutGrammar completes what bash's grammar does not understand.
func (r *unitReader) withoutGrammar() []*syntax.Stmt {
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

// document finds the beginnings of here-documents: not those of "<<<", and no shifts of
// numbers.
var document = regexp.MustCompile(`(?:^|[^<])<<-?[ \t]*(?:'([^'\n]+)'|"([^"\n]+)"|\\?([A-Za-z_][\w.-]*))`)

// openDocument reports whether a here-document has no end.
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

// openQuote reports whether a quote is open at the end of text, or it ends in a
// backslash.
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

// check refuses what would wait for keys that nobody can press.
func (u unit) check() error {
	if name := u.needsTerminal(); name != "" {
		return exit.UsageError("fleetssh run --tty -w HOST "+name+" …", "%s needs a terminal, and a line of the shell has none", name)
	}
	return nil
}

// needsTerminal returns the name of a program in u that waits for keys on a terminal,
// which no line of a shell here has; empty if there is none. Functions that u only
// defines do not count.
func (u unit) needsTerminal() string {
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

// Programs that wait for keys whatever their arguments are, but for some options.
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
		args = append(args, w.Lit()) // empty if it is not known what it will be
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
