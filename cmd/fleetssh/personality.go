package main

import (
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"fleetssh/cmd/fleetssh/internal/exit"
)

// A personality is another tool whose command lines are understood: called by its
// name, or with --as, the program takes its options. How each is understood is a
// row of a table, and an option without a row is an error, so that nothing is
// dropped in silence.
type personality struct {
	name    string
	aliases []string // other names that the tool is called by
	about   string   // of its help
	verb    string   // what does its work
	options []toolOption
	env     []envOption
	finish  func(*translation) error // adds what takes the whole command line to know
}

// toolOption is an option of another tool. It is one of ours (same), or take
// makes something of it, or it is not covered (instead); with none of these it
// changes nothing.
type toolOption struct {
	names   []string // as in "-f" and "--fanout"
	value   string   // what its value is called; empty: it takes none
	words   bool     // its value is all words up to the next option
	same    string
	take    func(t *translation, value string) error
	becomes string   // what that is, for people; empty: same says it
	instead string   // what to use instead
	ends    []string // the whole command line, from here on
}

// envOption is a variable of the environment that stands for an option which is
// not given.
type envOption struct{ variable, option string }

// personalities are the tools that the program can be called as.
func personalities() []*personality {
	return []*personality{
		pdshPersonality(), pdcpPersonality(), rpdcpPersonality(), clushPersonality(),
		psshPersonality(), pscpPersonality(), pslurpPersonality(), dshbakPersonality(),
	}
}

// personalityOf returns the tool of a name, nil if there is none.
func personalityOf(name string) *personality {
	for _, p := range personalities() {
		if name == p.name || slices.Contains(p.aliases, name) {
			return p
		}
	}
	return nil
}

// calledAs returns the arguments of a process. If its name is that of another
// tool, --as and the tool stand before them.
func calledAs(argv []string) []string {
	if len(argv) == 0 {
		return nil
	}
	name := strings.TrimSuffix(filepath.Base(argv[0]), ".exe")
	if p := personalityOf(name); p != nil {
		return append([]string{"--as", p.name}, argv[1:]...)
	}
	return argv[1:]
}

// surroundings are what a command line may mean besides its words.
type surroundings struct {
	getenv   func(string) string
	terminal bool // standard input is a terminal
}

// isTerminal reports whether somebody types what is read.
func isTerminal(in io.Reader) bool {
	file, ok := in.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// translate returns arguments as fleetssh takes them: those behind "--as TOOL"
// are read as the tool does, all others are returned as they are.
func translate(args []string, here surroundings) ([]string, error) {
	if len(args) == 0 || args[0] != "--as" {
		return args, nil
	}
	if len(args) == 1 {
		return nil, exit.UsageError("as in --as pdsh", "--as: which tool?")
	}
	p := personalityOf(args[1])
	if p == nil {
		return nil, exit.UsageError("--as knows "+toolNames(), "--as %s: this tool is not known", args[1])
	}
	t := &translation{surroundings: here, tool: p, values: make(map[string][]string)}
	return t.translate(args[2:])
}

// toolNames lists the tools for a message.
func toolNames() string {
	var names []string
	for _, p := range personalities() {
		names = append(names, p.name)
	}
	return strings.Join(names, ", ")
}

// translation is a command line of another tool on its way to ours.
type translation struct {
	surroundings
	tool    *personality
	values  map[string][]string // of the options that were given, by their first name
	args    []string            // our options
	verb    string              // in place of that of the tool; empty: that one
	command []string
	ends    []string // the whole, if not nil
}

func (t *translation) translate(args []string) ([]string, error) {
	if err := t.read(args); err != nil {
		return nil, err
	}
	if t.ends != nil {
		return t.ends, nil
	}
	for _, e := range t.tool.env {
		value := t.getenv(e.variable)
		o, _ := t.tool.find(e.option)
		if value == "" || t.given(o.names[0]) {
			continue
		}
		if err := t.apply(o, "the variable "+e.variable, value); err != nil {
			return nil, err
		}
	}
	if t.tool.finish != nil {
		if err := t.tool.finish(t); err != nil {
			return nil, err
		}
	}
	verb := t.tool.verb
	if t.verb != "" {
		verb = t.verb
	}
	return slices.Concat([]string{verb}, t.args, []string{"--"}, t.command), nil
}

// given reports whether an option was given, by its first name.
func (t *translation) given(name string) bool { return t.values[name] != nil }

// add adds one of our options. A value is attached, so that none can be taken for
// an option.
func (t *translation) add(option string) { t.args = append(t.args, option) }

func (t *translation) addValue(option, value string) {
	if strings.HasPrefix(option, "--") {
		option += "="
	}
	t.add(option + value)
}

// read reads options up to the first word that is none, as all of these tools do.
func (t *translation) read(args []string) error {
	for len(args) > 0 && t.ends == nil {
		word := args[0]
		var err error
		switch {
		case word == "--":
			t.command = args[1:]
			return nil
		case strings.HasPrefix(word, "--"):
			args, err = t.long(args)
		case len(word) > 1 && word[0] == '-':
			args, err = t.letters(args)
		default:
			t.command = args
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// long reads "--name", "--name value" or "--name=value", and returns what is left.
func (t *translation) long(args []string) ([]string, error) {
	name, value, attached := strings.Cut(args[0], "=")
	o, full := t.tool.find(name)
	args = args[1:]
	if o != nil && o.words && !attached {
		return t.takeWords(o, full, args)
	}
	switch {
	case o == nil:
		return nil, t.fault(name, "there is no such option")
	case o.value == "" && attached:
		return nil, t.fault(full, "it takes no value")
	case o.value != "" && !attached:
		if len(args) == 0 {
			return nil, t.fault(full, "it takes a value: "+o.value)
		}
		value, args = args[0], args[1:]
	}
	return args, t.apply(o, full, value)
}

// letters reads "-a", "-abc", "-f8" or "-f 8", and returns what is left.
func (t *translation) letters(args []string) ([]string, error) {
	letters := []rune(args[0][1:])
	args = args[1:]
	for i, letter := range letters {
		name := "-" + string(letter)
		o, _ := t.tool.find(name)
		if o == nil {
			return nil, t.fault(name, "there is no such option")
		}
		if o.words && i == len(letters)-1 {
			return t.takeWords(o, name, args)
		}
		if o.value == "" {
			if err := t.apply(o, name, ""); err != nil {
				return nil, err
			}
			continue
		}
		if rest := string(letters[i+1:]); rest != "" {
			return args, t.apply(o, name, rest)
		}
		if len(args) == 0 {
			return nil, t.fault(name, "it takes a value: "+o.value)
		}
		return args[1:], t.apply(o, name, args[0])
	}
	return args, nil
}

// takeWords applies an option with all words up to the next option, and returns what is left.
func (t *translation) takeWords(o *toolOption, name string, args []string) ([]string, error) {
	n := 0
	for n < len(args) && (args[n] == "-" || !strings.HasPrefix(args[n], "-")) {
		if err := t.apply(o, name, args[n]); err != nil {
			return nil, err
		}
		n++
	}
	if n == 0 {
		return nil, t.fault(name, "it takes values: "+o.value)
	}
	return args[n:], nil
}

// apply makes what it does of an option that is given as name.
func (t *translation) apply(o *toolOption, name, value string) error {
	t.values[o.names[0]] = append(t.values[o.names[0]], value)
	switch {
	case o.ends != nil:
		t.ends = o.ends
	case o.instead != "":
		return exit.UsageError(o.instead, "%s: %s is not covered", t.tool.name, name)
	case o.take != nil:
		if err := o.take(t, value); err != nil {
			return err
		}
	case o.same != "" && o.value == "":
		t.add(o.same)
	case o.same != "":
		t.addValue(o.same, value)
	}
	return nil
}

// fault says what is wrong with an option.
func (t *translation) fault(name, reason string) error {
	return exit.UsageError("fleetssh help "+t.tool.name, "%s %s: %s", t.tool.name, name, reason)
}

// find returns an option and its full name, nil if there is none. Long names may
// be cut short where no other begins so.
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

// spelling is how the help and the documentation write the option.
func (o *toolOption) spelling() string {
	text := strings.Join(o.names, ", ")
	if o.value != "" {
		text += " " + o.value
	}
	return text
}

// meaning is what becomes of the option, in the same places.
func (o *toolOption) meaning() string {
	switch {
	case o.instead != "":
		return "not covered: " + o.instead
	case o.becomes != "":
		return o.becomes
	case o.value != "":
		return o.same + " " + o.value
	}
	return o.same
}

// newPersonality returns a verb that exists for its help.
func newPersonality(p *personality) *cobra.Command {
	return &cobra.Command{
		Use:    p.name,
		Hidden: true,
		Args:   cobra.ArbitraryArgs,
		Long:   p.help(),
		RunE: func(*cobra.Command, []string) error {
			return exit.UsageError("fleetssh --as "+p.name+" takes its options", "%s is no verb", p.name)
		},
	}
}

func newPdsh(*call) *cobra.Command  { return newPersonality(pdshPersonality()) }
func newClush(*call) *cobra.Command { return newPersonality(clushPersonality()) }
func newPssh(*call) *cobra.Command  { return newPersonality(psshPersonality()) }

func newPdcp(*call) *cobra.Command   { return newPersonality(pdcpPersonality()) }
func newRpdcp(*call) *cobra.Command  { return newPersonality(rpdcpPersonality()) }
func newPscp(*call) *cobra.Command   { return newPersonality(pscpPersonality()) }
func newPslurp(*call) *cobra.Command { return newPersonality(pslurpPersonality()) }

// help returns the help text: the table of its options.
func (p *personality) help() string {
	var b strings.Builder
	b.WriteString(p.about)
	b.WriteString("\n\nOptions, and what they are here:\n")
	for i := range p.options {
		o := &p.options[i]
		spelling := "  " + o.spelling()
		if len(spelling) > 26 {
			b.WriteString(spelling + "\n")
			spelling = ""
		}
		b.WriteString(spelling + strings.Repeat(" ", 28-len(spelling)))
		b.WriteString(fill(o.meaning(), 28, 80) + "\n")
	}
	if len(p.env) > 0 {
		b.WriteString("\nVariables that stand for options which are not given:\n")
		for _, e := range p.env {
			b.WriteString("  " + e.variable + strings.Repeat(" ", 26-len(e.variable)) + e.option + "\n")
		}
	}
	b.WriteByte('\n')
	return b.String()
}

// fill breaks text into lines between two columns. The first begins where it is.
func fill(text string, indent, width int) string {
	var b strings.Builder
	column := indent
	for i, word := range strings.Fields(text) {
		switch {
		case i == 0:
		case column+1+len(word) > width:
			b.WriteString("\n" + strings.Repeat(" ", indent))
			column = indent
		default:
			b.WriteByte(' ')
			column++
		}
		b.WriteString(word)
		column += len(word)
	}
	return b.String()
}
