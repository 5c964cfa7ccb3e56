package personality

import (
	"cmp"
	"slices"
	"strings"

	"fleetssh/cmd/fleetssh/internal/exit"
	"fleetssh/internal/nearest"
)

// Environment is what the translation of a command line depends on besides its words.
type Environment struct {
	Getenv   func(string) string
	Terminal bool // standard input is a terminal
}

// Translate translates arguments after "--as TOOL". It returns all other arguments unchanged. Errors are
// those of package exit.
func Translate(args []string, env Environment) ([]string, error) {
	if len(args) == 0 || args[0] != "--as" {
		return args, nil
	}
	if len(args) == 1 {
		return nil, exit.UsageError("as in --as pdsh", "--as: no tool given")
	}
	p := personalityOf(args[1])
	if p == nil {
		return nil, exit.UsageError(cmp.Or(nearest.Hint(nearest.Names(args[1], toolNames())), "--as knows "+strings.Join(toolNames(), ", ")), "--as %s: unknown tool", args[1])
	}
	t := &translation{Environment: env, tool: p, values: make(map[string][]string)}
	return t.translate(args[2:])
}

// toolNames lists the tools.
func toolNames() []string {
	var names []string
	for _, p := range personalities() {
		names = append(names, p.name)
	}
	return names
}

// translation is a command line that is being translated.
type translation struct {
	Environment
	tool        *personality
	values      map[string][]string // of the given options, by their first name
	args        []string            // our options
	verb        string              // replaces the verb of the tool, unless empty
	command     []string
	replacement []string // replaces the whole command line, if not nil
}

func (t *translation) translate(args []string) ([]string, error) {
	if err := t.read(args); err != nil {
		return nil, err
	}
	if t.replacement != nil {
		return t.replacement, nil
	}
	for _, e := range t.tool.env {
		value := t.Getenv(e.variable)
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

// add adds one of our options. addValue attaches a value, so that it is never taken for an option.
func (t *translation) add(option string) { t.args = append(t.args, option) }

func (t *translation) addValue(option, value string) {
	if strings.HasPrefix(option, "--") {
		option += "="
	}
	t.add(option + value)
}

// read reads options up to the first other word, as all of these tools do.
func (t *translation) read(args []string) error {
	for len(args) > 0 && t.replacement == nil {
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

// long reads "--name", "--name value" or "--name=value", and returns the remaining arguments.
func (t *translation) long(args []string) ([]string, error) {
	name, value, attached := strings.Cut(args[0], "=")
	o, full := t.tool.find(name)
	args = args[1:]
	if o != nil && o.words && !attached {
		return t.takeWords(o, full, args)
	}
	switch {
	case o == nil:
		return nil, t.optionError(name, "there is no such option")
	case o.value == "" && attached:
		return nil, t.optionError(full, "it takes no value")
	case o.value != "" && !attached:
		if len(args) == 0 {
			return nil, t.optionError(full, "it takes a value: "+o.value)
		}
		value, args = args[0], args[1:]
	}
	return args, t.apply(o, full, value)
}

// letters reads "-a", "-abc", "-f8" or "-f 8", and returns the remaining arguments.
func (t *translation) letters(args []string) ([]string, error) {
	letters := []rune(args[0][1:])
	args = args[1:]
	for i, letter := range letters {
		name := "-" + string(letter)
		o, _ := t.tool.find(name)
		if o == nil {
			return nil, t.optionError(name, "there is no such option")
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
			return nil, t.optionError(name, "it takes a value: "+o.value)
		}
		return args[1:], t.apply(o, name, args[0])
	}
	return args, nil
}

// takeWords applies an option with all words up to the next option, and returns the remaining arguments.
func (t *translation) takeWords(o *toolOption, name string, args []string) ([]string, error) {
	n := 0
	for n < len(args) && (args[n] == "-" || !strings.HasPrefix(args[n], "-")) {
		if err := t.apply(o, name, args[n]); err != nil {
			return nil, err
		}
		n++
	}
	if n == 0 {
		return nil, t.optionError(name, "it takes values: "+o.value)
	}
	return args[n:], nil
}

// apply translates an option that was given as name.
func (t *translation) apply(o *toolOption, name, value string) error {
	t.values[o.names[0]] = append(t.values[o.names[0]], value)
	switch {
	case o.replacement != nil:
		t.replacement = o.replacement
	case o.unsupported != "":
		return exit.UsageError(o.unsupported, "%s: %s is not supported", t.tool.name, name)
	case o.take != nil:
		if err := o.take(t, value); err != nil {
			return err
		}
	case o.ours != "" && o.value == "":
		t.add(o.ours)
	case o.ours != "":
		t.addValue(o.ours, value)
	}
	return nil
}

// optionError returns the error about an option.
func (t *translation) optionError(name, reason string) error {
	return exit.UsageError("fleetssh help "+t.tool.name, "%s %s: %s", t.tool.name, name, reason)
}
