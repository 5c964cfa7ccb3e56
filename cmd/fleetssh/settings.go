package main

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
	"fleetssh/cmd/fleetssh/internal/help"
	"fleetssh/cmd/fleetssh/internal/redact"
)

// settings are defaults for flags, from a file:
//
//	fanout = 200            # of every verb that has the flag
//
//	[run]                   # of this one; goes before the former
//	timeout = "30s"
//	env = ["LANG=C", "TERM=dumb"]
//
// A key is the long name of a flag. Verbs below others are tables in tables:
// [trust.scan]. What is given on the command line goes before
// all of it. No secret has a place in the file.
type settings struct {
	getenv  func(string) string
	from    string // --config; "none": no file; empty: the usual file, if it is there
	origins map[string]string
}

// setting is one key of the file.
type setting struct {
	verb   string // "run", "trust.scan"; empty: for all that have the flag
	flag   string
	values []string
	line   int
}

// maxSettings is how long the file may be.
const maxSettings = 1 << 20

func newSettings(getenv func(string) string) *settings {
	return &settings{getenv: getenv, origins: make(map[string]string)}
}

// attach adds --config to all verbs, and applies the settings to the one that runs.
func (s *settings) attach(root *cobra.Command) {
	root.PersistentFlags().StringVar(&s.from, "config", "", "file of defaults for options; none: no file")
	root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error {
		if err := refuseHidden(cmd.Flags()); err != nil {
			return err
		}
		return s.apply(cmd)
	}
}

// refuseHidden refuses what stands in a record for a value that is not in it: the value is meant.
func refuseHidden(flags *pflag.FlagSet) (err error) {
	flags.Visit(func(flag *pflag.Flag) {
		for _, value := range flagValues(flag) {
			if err == nil && redact.IsHidden(flag.Name, value) {
				err = exit.UsageError("put the value in the place of "+redact.Hidden, "--%s=%s: the value was not recorded", flag.Name, value)
			}
		}
	})
	return err
}

// flagValues returns the values of a flag, one for each time that it was given.
func flagValues(flag *pflag.Flag) []string {
	if list, ok := flag.Value.(pflag.SliceValue); ok {
		return list.GetSlice()
	}
	return []string{flag.Value.String()}
}

// apply sets the flags of a verb that were not given. They do not count as given.
func (s *settings) apply(cmd *cobra.Command) error {
	if cmd.Hidden || len(settable(cmd)) == 0 {
		return nil // nothing in the file is for it, so that a mistake there is no obstacle
	}
	path, all, err := s.read(cmd.Root())
	if err != nil {
		return err
	}
	given := make(map[string]bool)
	cmd.Flags().Visit(func(flag *pflag.Flag) {
		for _, name := range rivals(flag.Name) {
			given[name] = true
		}
	})
	for _, e := range all {
		flag := settable(cmd)[e.flag]
		if flag == nil || e.verb != "" && e.verb != tableOf(cmd) || given[e.flag] || s.origins[e.flag] != "" {
			continue
		}
		for _, value := range e.values {
			if err := flag.Value.Set(value); err != nil {
				hint := ""
				if e.verb == "" {
					hint = fmt.Sprintf("what is for some verbs only goes below the name of each, as in [%s]", tableOf(cmd))
				}
				return exit.UsageError(hint, "%s:%d: %s: %v", path, e.line, e.flag, err)
			}
		}
		s.origins[e.flag] = fmt.Sprintf("%s:%d", filepath.Base(path), e.line)
	}
	return nil
}

// origin says where the value of a flag comes from, as in "config.toml:12", if it
// was set by apply, and nothing otherwise. A nil s has set none.
func (s *settings) origin(flag string) string {
	if s == nil {
		return ""
	}
	return s.origins[flag]
}

// all says which flags apply has set, and where.
func (s *settings) all() []string {
	if s == nil {
		return nil
	}
	var lines []string
	for _, name := range slices.Sorted(maps.Keys(s.origins)) {
		lines = append(lines, fmt.Sprintf("--%s  (%s)", name, s.origins[name]))
	}
	return lines
}

// rivals returns the flags that say the same thing in another way, name included:
// where one of them is given, the settings of the others have no say.
func rivals(name string) []string {
	for _, group := range [][]string{
		{"hosts", "group", "all"}, {"format", "fold", "diff", "quiet"}, {"ask-pass", "password-file"}, {"ipv4", "ipv6"},
		{"proxy", "proxy-command", "control-path", "jump"}, {"keytab", "kinit"}, {"host-key", "known-hosts"},
	} {
		if slices.Contains(group, name) {
			return group
		}
	}
	return []string{name}
}

// settable returns the flags of a verb that settings may set, by name.
func settable(cmd *cobra.Command) map[string]*pflag.Flag {
	flags := make(map[string]*pflag.Flag)
	cmd.LocalNonPersistentFlags().VisitAll(func(flag *pflag.Flag) {
		if _, again := flag.Annotations[againOnly]; !again && flag.Name != "help" {
			flags[flag.Name] = flag
		}
	})
	return flags
}

// tableOf is what the table of a verb is called.
func tableOf(cmd *cobra.Command) string {
	_, below, _ := strings.Cut(cmd.CommandPath(), " ")
	return strings.ReplaceAll(below, " ", ".")
}

// path returns which file to read, empty for none, and whether it was asked for.
func (s *settings) path() (path string, wanted bool) {
	switch s.from {
	case "none":
		return "", true
	case "":
	default:
		return s.from, true
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

// there reports whether there is a file to read.
func (s *settings) there() bool {
	path, _ := s.path()
	_, err := os.Stat(path)
	return path != "" && err == nil
}

// read returns what the file says, that of verbs first. Everything in it is
// checked, whatever verb runs, but for the values.
func (s *settings) read(root *cobra.Command) (path string, all []setting, err error) {
	path, wanted := s.path()
	if path == "" {
		return "", nil, nil
	}
	text, err := readSettings(path, wanted)
	if !wanted && errors.Is(err, os.ErrNotExist) {
		return path, nil, nil
	}
	if err != nil {
		return path, nil, err
	}
	if all, err = parseSettings(path, text); err != nil {
		return path, nil, err
	}
	for _, e := range all {
		if err := e.check(root); err != nil {
			return path, nil, exit.UsageError(err.Hint, "%s:%d: %s", path, e.line, err.Text)
		}
	}
	return path, all, nil
}

// readSettings reads the file. As with that of ssh, others must not be able to
// write the one that is read without being asked for: it can name programs to run.
func readSettings(path string, wanted bool) ([]byte, error) {
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
			Text: fmt.Sprintf("settings %s: others can write it (mode %#o)", path, mode)}
	}
	text, err := io.ReadAll(io.LimitReader(file, maxSettings+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("settings: %w", err)
	case len(text) > maxSettings:
		return nil, fmt.Errorf("settings %s: longer than %d KiB", path, maxSettings>>10)
	}
	return text, nil
}

// parseSettings reads TOML.
func parseSettings(path string, text []byte) ([]setting, error) {
	var tree map[string]any
	if err := toml.Unmarshal(text, &tree); err != nil {
		line := 1
		if at, ok := errors.AsType[*toml.DecodeError](err); ok {
			line, _ = at.Position()
		}
		return nil, exit.UsageError("", "%s:%d: %s", path, line, strings.TrimPrefix(err.Error(), "toml: "))
	}
	lines := settingLines(text)
	var all []setting
	var walk func(verb string, table map[string]any) error
	walk = func(verb string, table map[string]any) error {
		if len(table) == 0 {
			all = append(all, setting{verb: verb, line: lines[verb]})
		}
		for key, value := range table {
			name := strings.TrimPrefix(verb+"."+key, ".")
			if lines[name] == 0 {
				lines[name] = lines[verb] // it stands in an inline table
			}
			if below, ok := value.(map[string]any); ok {
				if err := walk(name, below); err != nil {
					return err
				}
				continue
			}
			words, err := settingWords(value)
			if err != nil {
				return exit.UsageError("", "%s:%d: %s: %v", path, lines[name], key, err)
			}
			all = append(all, setting{verb: verb, flag: key, values: words, line: lines[name]})
		}
		return nil
	}
	if len(tree) > 0 {
		if err := walk("", tree); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(all, func(a, b setting) int {
		return cmp.Or(cmp.Compare(b.verb, a.verb), cmp.Compare(a.line, b.line))
	})
	return all, nil
}

// settingLines returns where the keys of a valid text stand, by their full names.
func settingLines(text []byte) map[string]int {
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

// settingWords returns a value as it would be given on the command line, one word
// for each time that the flag would be given.
func settingWords(value any) ([]string, error) {
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
				return nil, errors.New("it is a list of lists")
			}
			word, err := settingWords(element)
			if err != nil {
				return nil, err
			}
			words = append(words, word...)
		}
		return words, nil
	}
	return nil, errors.New("it is no text, number, true, false or list of them")
}

// check reports what is wrong with a setting, whatever its value is.
func (e *setting) check(root *cobra.Command) *exit.Error {
	known := make(map[string]bool)
	var verbs []string
	for _, verb := range help.Verbs(root) {
		flags := settable(verb)
		if verb.Hidden || len(flags) == 0 {
			continue
		}
		verbs = append(verbs, tableOf(verb))
		if e.verb == "" || e.verb == tableOf(verb) {
			for name := range flags {
				known[name] = true
			}
		}
	}
	switch {
	case e.verb != "" && !slices.Contains(verbs, e.verb):
		return &exit.Error{Text: fmt.Sprintf("[%s]: no verb of this name takes options", e.verb), Hint: help.DidYouMean(help.Nearest(e.verb, verbs))}
	case e.flag == "":
		return nil
	case !known[e.flag] && secretName(e.flag):
		return &exit.Error{Text: e.flag + ": secrets have no place here", Hint: "password-file names a file that only you can read"}
	case !known[e.flag]:
		var names []string
		for name := range known {
			names = append(names, name)
		}
		slices.Sort(names)
		return &exit.Error{Text: fmt.Sprintf("%s: there is no flag --%s", e.flag, e.flag), Hint: help.DidYouMean(help.Nearest(e.flag, names))}
	}
	for _, value := range e.values {
		name, _, _ := strings.Cut(value, "=")
		if e.flag == "env" && secretName(name) || hasPassword(value) {
			return &exit.Error{Text: e.flag + ": secrets have no place here"}
		}
	}
	return nil
}

// secretName reports whether a thing of this name is a secret.
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
