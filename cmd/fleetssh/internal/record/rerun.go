package record

import (
	"cmp"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"fleetssh/cmd/fleetssh/internal/exit"
	"fleetssh/cmd/fleetssh/internal/journal"
	"fleetssh/cmd/fleetssh/internal/redact"
	"fleetssh/cmd/fleetssh/internal/settings"
	"fleetssh/internal/shellquote"
)

// RerunFlags are the flags of rerun for values that were not recorded because they may be secrets.
type RerunFlags struct {
	values map[string]*[]string // by flag
	flags  *pflag.FlagSet
}

// RerunHelp is the help text of these flags.
const RerunHelp = `Values that were not recorded, because they may be secrets:
      --env NAME=VALUE      the value of a variable
      --proxy URL           the URL of the proxy
      --proxy-command LINE  the command that makes connections
  -o, --option KEY=VALUE    a line of ssh_config
      --password-command LINE
                            the program that prints the password
      --sudo-password-command LINE
                            the program that prints the sudo password
`

// Register adds the flags to rerun.
func (f *RerunFlags) Register(flags *pflag.FlagSet) {
	f.flags, f.values = flags, make(map[string]*[]string)
	for _, name := range []string{"env", "proxy", "proxy-command", "password-command", "sudo-password-command"} {
		f.values[name] = flags.StringArray(name, nil, "")
	}
	f.values["option"] = flags.StringArrayP("option", "o", nil, "")
	for name := range f.values {
		flags.Lookup(name).Annotations = map[string][]string{settings.NotInFile: nil}
	}
}

// argFlag splits an option of a record, as in --env=A=1.
func argFlag(arg string) (name, value string, ok bool) {
	name, value, _ = strings.Cut(strings.TrimPrefix(arg, "--"), "=")
	return name, value, strings.HasPrefix(arg, "--")
}

// hiddenArg reports whether an option of a record has a hidden part.
func hiddenArg(arg string) bool {
	name, value, ok := argFlag(arg)
	return ok && redact.IsHidden(name, value)
}

// RedactArgs hides secrets among the options of a record, because older versions recorded them.
func RedactArgs(args []string) []string {
	redacted := slices.Clone(args)
	for i, arg := range redacted {
		if name, value, ok := argFlag(arg); ok && strings.Contains(arg, "=") {
			redacted[i] = "--" + name + "=" + redact.Flag(name, value)
		}
	}
	return redacted
}

// valueKey returns the subject of a flag value: the variable, the keyword, or the flag itself.
func valueKey(flag, value string) string {
	switch flag {
	case "env":
		name, _, _ := strings.Cut(value, "=")
		return flag + " " + name
	case "option":
		name, _ := redact.SplitOption(value)
		return flag + " " + strings.ToLower(name)
	}
	return flag
}

// Options returns the options that repeat a run. Hidden values come from the flags, or, if they came
// from the user's settings, from that file, which is named with --config. All other settings are among
// the recorded options, so no file is read for them.
func (f *RerunFlags) Options(run *journal.Run, root *cobra.Command) ([]string, error) {
	given, unused := f.given()
	filed := currentSettings(run, root)
	inFile := func(name string) bool {
		return slices.Contains(run.Settings.Flags, name) && !f.flags.Changed(name) && !slices.ContainsFunc(run.Args, func(arg string) bool {
			of, value, _ := argFlag(arg)
			return of == name && hiddenArg(arg) && filed[valueKey(of, value)] == ""
		})
	}
	file := ""
	var args, missing, names []string
	for _, arg := range run.Args {
		name, value, _ := argFlag(arg)
		key := valueKey(name, value)
		again := cmp.Or(given[key], filed[key])
		switch {
		case name == "config": // of older versions; which flags the file has set is not known
		case inFile(name):
			file = run.Settings.File
		case !hiddenArg(arg):
			args = append(args, arg)
		case again != "":
			args = append(args, "--"+name+"="+again)
			delete(unused, key)
		default:
			missing = append(missing, "--"+name+" "+shellquote.Quote(value))
			names = append(names, "--"+key)
		}
	}
	if len(missing) > 0 {
		return nil, exit.UsageError("add "+strings.Join(missing, " ")+", with the value instead of "+redact.Hidden,
			"run %s: the value of %s was not recorded: it may be a secret", run.ID, strings.Join(names, ", "))
	}
	for _, name := range unused {
		return nil, exit.UsageError("fleetssh runs show "+run.ID+" shows what was not recorded as "+redact.Hidden, "--%s: run %s does not need it", name, run.ID)
	}
	switch {
	case file != "":
		args = append([]string{"--config=" + file}, args...)
	case settings.New(os.Getenv).Exists():
		args = append([]string{"--config=none"}, args...)
	}
	return args, nil
}

// given returns the values of the flags and the names of the flags, both by key.
func (f *RerunFlags) given() (values, flags map[string]string) {
	values, flags = make(map[string]string), make(map[string]string)
	for name, list := range f.values {
		if !f.flags.Changed(name) {
			continue
		}
		for _, value := range *list {
			values[valueKey(name, value)], flags[valueKey(name, value)] = value, name
		}
	}
	return values, flags
}

// currentSettings returns the current values in the user's settings of the flags that they set in a run,
// by key. If the file cannot be read, it returns none.
func currentSettings(run *journal.Run, root *cobra.Command) map[string]string {
	if run.Settings.File == "" {
		return nil
	}
	s := settings.New(os.Getenv)
	s.File = run.Settings.File
	_, all, err := s.Read(root)
	if err != nil {
		return nil
	}
	values := make(map[string]string)
	known := make(map[string]bool)
	for _, e := range all { // settings of the verb are first
		if known[e.Flag] || !slices.Contains(run.Settings.Flags, e.Flag) || e.Verb != "" && e.Verb != cmp.Or(run.Verb, "run") {
			continue
		}
		known[e.Flag] = true
		for _, value := range e.Values {
			values[valueKey(e.Flag, value)] = value
		}
	}
	return values
}

// Repeatable refuses a run whose record lacks something that is needed.
func Repeatable(run *journal.Run) error {
	if run.Command == "" || len(run.Hosts) == 0 {
		return exit.UsageError("", "run %s: its beginning was not recorded", run.ID)
	}
	if run.Verb == "reboot" {
		return exit.UsageError("fleetssh reboot -w @"+run.ID+":failed chooses hosts of it", "run %s was a reboot, which is not repeated", run.ID)
	}
	if run.Verb != "" && run.Words == nil {
		return exit.UsageError("", "run %s: its paths were not recorded: they are too long or not valid UTF-8", run.ID)
	}
	return nil
}
