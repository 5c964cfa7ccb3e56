// Package settings reads the file in which a user changes the defaults of flags.
package settings

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"fleetssh/cmd/fleetssh/internal/exit"
	"fleetssh/cmd/fleetssh/internal/flagvalue"
	"fleetssh/cmd/fleetssh/internal/help"
	"fleetssh/cmd/fleetssh/internal/redact"
	"fleetssh/internal/nearest"
)

// Defaults are defaults for flags, from a file:
//
//	fanout = 200            # for every verb that has the flag
//
//	[run]                   # for this verb alone; overrides the line above
//	timeout = "30s"
//	env = ["LANG=C", "TERM=dumb"]
//
// A key is the long name of a flag. Verbs below others are tables in tables:
// [trust.scan]. The command line overrides the file. Secrets are refused in it.
type Defaults struct {
	// File is the value of --config: the file to read, "none" for no file, or empty for the usual
	// file if that exists.
	File string

	getenv  func(string) string
	origins map[string]string // of flags that Apply has set
}

// Setting is one key of the file.
type Setting struct {
	Verb   string // "run", "trust.scan"; empty: all verbs with the flag
	Flag   string
	Values []string
	line   int
}

// maxSize is the greatest size of the file, in bytes.
const maxSize = 1 << 20

// New returns defaults that are not read yet. getenv finds the usual file.
func New(getenv func(string) string) *Defaults {
	return &Defaults{getenv: getenv, origins: make(map[string]string)}
}

// Attach adds --config to all verbs, and applies the settings to the one that runs. Then it calls ready
// with the flags of the verb.
func (s *Defaults) Attach(root *cobra.Command, ready func(*pflag.FlagSet)) {
	root.PersistentFlags().StringVar(&s.File, "config", "", "file of defaults for options; none: no file")
	root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error {
		if err := refuseHidden(cmd.Flags()); err != nil {
			return err
		}
		err := s.Apply(cmd)
		ready(cmd.Flags())
		return err
	}
}

// refuseHidden refuses a value that was copied from a record in its hidden form.
func refuseHidden(flags *pflag.FlagSet) (err error) {
	flags.Visit(func(flag *pflag.Flag) {
		for _, value := range flagvalue.Values(flag) {
			if err == nil && redact.IsHidden(flag.Name, value) {
				err = exit.UsageError("write the value instead of "+redact.Hidden, "--%s=%s: the value was not recorded", flag.Name, value)
			}
		}
	})
	return err
}

// Apply sets the flags of a verb that were not given. They do not become Changed.
func (s *Defaults) Apply(cmd *cobra.Command) error {
	if cmd.Hidden || len(settable(cmd)) == 0 {
		return nil // the file has no settings for it, so a mistake there does not matter
	}
	path, all, err := s.Read(cmd.Root())
	if err != nil {
		return err
	}
	given := make(map[string]bool)
	cmd.Flags().Visit(func(flag *pflag.Flag) {
		for _, name := range alternatives(flag.Name) {
			given[name] = true
		}
	})
	for _, e := range all {
		flag := settable(cmd)[e.Flag]
		if flag == nil || e.Verb != "" && e.Verb != tableOf(cmd) || given[e.Flag] || s.origins[e.Flag] != "" {
			continue
		}
		for _, value := range e.Values {
			if err := flag.Value.Set(value); err != nil {
				hint := ""
				if choice, ok := flag.Value.(interface{ Choices() []string }); ok {
					hint = nearest.Hint(nearest.Names(value, choice.Choices()))
				}
				if hint == "" && e.Verb == "" {
					hint = fmt.Sprintf("settings for one verb go into its table, as in [%s]", tableOf(cmd))
				}
				return exit.UsageError(hint, "%s:%d: %s: %v", path, e.line, e.Flag, err)
			}
		}
		s.origins[e.Flag] = fmt.Sprintf("%s:%d", filepath.Base(path), e.line)
	}
	return nil
}

// Origin returns where the value of a flag comes from, as in "config.toml:12". It is empty if Apply
// has not set the flag, or if s is nil.
func (s *Defaults) Origin(flag string) string {
	if s == nil {
		return ""
	}
	return s.origins[flag]
}

// Lines returns a line for each flag that Apply has set, with its origin. It is empty if s is nil.
func (s *Defaults) Lines() []string {
	if s == nil {
		return nil
	}
	var lines []string
	for _, name := range slices.Sorted(maps.Keys(s.origins)) {
		lines = append(lines, fmt.Sprintf("--%s  (%s)", name, s.origins[name]))
	}
	return lines
}

// NotInFile annotates a flag that only the command line can set.
const NotInFile = "again"

// alternatives returns the flags that decide the same thing, including name. If one of them is given,
// the file sets none of them.
func alternatives(name string) []string {
	for _, group := range [][]string{
		{"hosts", "group", "all"}, {"format", "fold", "diff", "quiet"}, {"ask-pass", "password-file", "password-command"},
		{"ask-sudo-pass", "sudo-password-file", "sudo-password-command"}, {"ipv4", "ipv6"},
		{"proxy", "proxy-command", "control-path", "jump"}, {"keytab", "kinit"}, {"host-key", "known-hosts"},
	} {
		if slices.Contains(group, name) {
			return group
		}
	}
	return []string{name}
}

// settable returns the flags of a verb that the file may set, by name.
func settable(cmd *cobra.Command) map[string]*pflag.Flag {
	flags := make(map[string]*pflag.Flag)
	cmd.LocalNonPersistentFlags().VisitAll(func(flag *pflag.Flag) {
		if _, again := flag.Annotations[NotInFile]; !again && flag.Name != "help" {
			flags[flag.Name] = flag
		}
	})
	return flags
}

// tableOf returns the name of the table of a verb.
func tableOf(cmd *cobra.Command) string {
	_, below, _ := strings.Cut(cmd.CommandPath(), " ")
	return strings.ReplaceAll(below, " ", ".")
}

// Path returns the file to read, or an empty name for none, and whether the user has named it.
func (s *Defaults) Path() (path string, wanted bool) {
	switch s.File {
	case "none":
		return "", true
	case "":
	default:
		return s.File, true
	}
	dir := s.getenv("XDG_CONFIG_HOME")
	if !filepath.IsAbs(dir) { // as the XDG Base Directory Specification says
		home := s.getenv("HOME")
		if runtime.GOOS == "windows" {
			home = s.getenv("USERPROFILE")
		}
		if home == "" {
			return "", false
		}
		dir = filepath.Join(home, ".config")
	}
	return filepath.Join(dir, "fleetssh", "config.toml"), false
}

// Exists reports whether there is a file to read.
func (s *Defaults) Exists() bool {
	path, _ := s.Path()
	_, err := os.Stat(path)
	return path != "" && err == nil
}

// Read returns the settings in the file, settings of single verbs first. It checks all keys, also
// those of other verbs, but not the values.
func (s *Defaults) Read(root *cobra.Command) (path string, all []Setting, err error) {
	path, wanted := s.Path()
	if path == "" {
		return "", nil, nil
	}
	text, err := readFile(path, wanted)
	if !wanted && errors.Is(err, os.ErrNotExist) {
		return path, nil, nil
	}
	if err != nil {
		return path, nil, err
	}
	if all, err = parse(path, text); err != nil {
		return path, nil, err
	}
	for _, e := range all {
		if err := e.check(root); err != nil {
			return path, nil, exit.UsageError(err.Hint, "%s:%d: %s", path, e.line, err.Text)
		}
	}
	return path, all, nil
}

// readFile reads the file. The usual file must not be writable by others, because it can name programs
// to run; ssh has the same rule for its own file.
func readFile(path string, wanted bool) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("settings: %w", err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, fmt.Errorf("settings: %w", err)
	}
	if mode := info.Mode().Perm(); !wanted && mode&0o022 != 0 && runtime.GOOS != "windows" {
		return nil, &exit.Error{Code: exit.Failed, Hint: "chmod go-w " + path,
			Text: fmt.Sprintf("settings %s: writable by others (mode %#o)", path, mode)}
	}
	text, err := io.ReadAll(io.LimitReader(file, maxSize+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("settings: %w", err)
	case len(text) > maxSize:
		return nil, fmt.Errorf("settings %s: longer than %d KiB", path, maxSize>>10)
	}
	return text, nil
}

// parse reads TOML.
func parse(path string, text []byte) ([]Setting, error) {
	var tree map[string]any
	if err := toml.Unmarshal(text, &tree); err != nil {
		line := 1
		if at, ok := errors.AsType[*toml.DecodeError](err); ok {
			line, _ = at.Position()
		}
		return nil, exit.UsageError("", "%s:%d: %s", path, line, strings.TrimPrefix(err.Error(), "toml: "))
	}
	lines := lineNumbers(text)
	var all []Setting
	var walk func(verb string, table map[string]any) error
	walk = func(verb string, table map[string]any) error {
		if len(table) == 0 {
			all = append(all, Setting{Verb: verb, line: lines[verb]})
		}
		for key, value := range table {
			name := strings.TrimPrefix(verb+"."+key, ".")
			if lines[name] == 0 {
				lines[name] = lines[verb] // it is in an inline table
			}
			if below, ok := value.(map[string]any); ok {
				if err := walk(name, below); err != nil {
					return err
				}
				continue
			}
			words, err := flagWords(value)
			if err != nil {
				return exit.UsageError("", "%s:%d: %s: %v", path, lines[name], key, err)
			}
			all = append(all, Setting{Verb: verb, Flag: key, Values: words, line: lines[name]})
		}
		return nil
	}
	if len(tree) > 0 {
		if err := walk("", tree); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(all, func(a, b Setting) int {
		return cmp.Or(cmp.Compare(b.Verb, a.Verb), cmp.Compare(a.line, b.line))
	})
	return all, nil
}

// lineNumbers returns the lines of the keys in a valid text, by their full names.
func lineNumbers(text []byte) map[string]int {
	lines := make(map[string]int)
	var p unstable.Parser
	p.Reset(text)
	table := ""
	for p.NextExpression() {
		e := p.Expression()
		if e.Kind == unstable.Comment {
			continue
		}
		name, line := "", 0
		for keys := e.Key(); keys.Next(); {
			part := keys.Node()
			if line == 0 {
				line = p.Shape(part.Raw).Start.Line
			}
			name += "." + string(part.Data)
		}
		name = name[1:]
		if e.Kind == unstable.KeyValue {
			name = table + name
		} else {
			table = name + "."
		}
		if lines[name] == 0 {
			lines[name] = line
		}
	}
	return lines
}

// flagWords returns a value as on the command line, one word for each use of the flag.
func flagWords(value any) ([]string, error) {
	switch v := value.(type) {
	case string:
		return []string{v}, nil
	case bool:
		return []string{strconv.FormatBool(v)}, nil
	case int64:
		return []string{strconv.FormatInt(v, 10)}, nil
	case float64:
		return []string{strconv.FormatFloat(v, 'f', -1, 64)}, nil
	case []any:
		var words []string
		for _, element := range v {
			if _, nested := element.([]any); nested {
				return nil, errors.New("a list of lists")
			}
			word, err := flagWords(element)
			if err != nil {
				return nil, err
			}
			words = append(words, word...)
		}
		return words, nil
	}
	return nil, errors.New("not a text, number, boolean or list of them")
}

// check returns an error if the key of a setting is wrong, or if its value is a secret.
func (e *Setting) check(root *cobra.Command) *exit.Error {
	known := make(map[string]bool)
	var verbs []string
	for _, verb := range help.Verbs(root) {
		flags := settable(verb)
		if verb.Hidden || len(flags) == 0 {
			continue
		}
		verbs = append(verbs, tableOf(verb))
		if e.Verb == "" || e.Verb == tableOf(verb) {
			for name := range flags {
				known[name] = true
			}
		}
	}
	switch {
	case e.Verb != "" && !slices.Contains(verbs, e.Verb):
		return &exit.Error{Text: fmt.Sprintf("[%s]: no verb of this name takes options", e.Verb), Hint: nearest.Hint(nearest.Names(e.Verb, verbs))}
	case e.Flag == "":
		return nil
	case !known[e.Flag] && secretName(e.Flag):
		return &exit.Error{Text: e.Flag + ": secrets do not belong in this file", Hint: "password-file names a file that only you can read, password-command a program that prints it"}
	case !known[e.Flag]:
		var names []string
		for name := range known {
			names = append(names, name)
		}
		slices.Sort(names)
		return &exit.Error{Text: fmt.Sprintf("%s: there is no flag --%s", e.Flag, e.Flag), Hint: nearest.Hint(nearest.Names(e.Flag, names))}
	}
	for _, value := range e.Values {
		name, _, _ := strings.Cut(value, "=")
		if e.Flag == "env" && secretName(name) || hasPassword(value) {
			return &exit.Error{Text: e.Flag + ": secrets do not belong in this file"}
		}
	}
	return nil
}

// secretName reports whether a name suggests a secret.
func secretName(name string) bool {
	name = strings.ToLower(name)
	return slices.ContainsFunc([]string{"password", "passwd", "passphrase", "secret", "token"}, func(word string) bool {
		return strings.Contains(name, word)
	})
}

// hasPassword reports whether a value is a URL with a password.
func hasPassword(value string) bool {
	u, err := url.Parse(value)
	if err != nil || u.User == nil {
		return false
	}
	_, set := u.User.Password()
	return set
}
