package help

import (
	"cmp"
	"errors"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"fleetssh/cmd/fleetssh/internal/exit"
	"fleetssh/internal/nearest"
)

// otherWords maps words of other programs to our verbs.
var otherWords = map[string]string{
	"exec": "run", "execute": "run", "command": "run", "cmd": "run", "ssh": "run",
	"copy": "put", "cp": "put", "upload": "put", "push": "put", "send": "put", "scp": "put",
	"download": "get", "fetch": "get", "pull": "get", "rcopy": "get",
	"ping": "check", "test": "check", "login": "shell", "console": "shell",
	"forward": "tunnel", "proxy": "tunnel", "list": "hosts", "ls": "hosts", "nodes": "hosts",
	"history": "runs", "log": "runs", "repeat": "rerun", "retry": "rerun", "keyscan": "trust scan",
	"restart": "reboot", "await": "wait", "wait-for": "wait", "scan": "trust scan", "accept": "trust accept",
}

// otherFlags maps flags of other programs to ours.
var otherFlags = map[string]string{
	"forks": "fanout", "parallel": "fanout", "jobs": "fanout", "concurrency": "fanout", "user": "login", "host": "hosts",
	"become": "sudo", "ask-become-pass": "ask-sudo-pass", "become-user": "run-as", "ask-password": "ask-pass", "connection-password-file": "password-file",
	"sudo-password": "ask-sudo-pass", "become-password-file": "sudo-password-file", "key-file": "identity", "private-key": "identity",
	"identity-file": "identity", "proxy-jump": "jump", "command-timeout": "timeout", "check": "dry-run", "serial": "batch", "chown": "owner", "chmod": "mode",
	"max-fail-percentage": "max-fail", "health-check": "gate",
}

// CheckVerb refuses an unknown verb before its flags are parsed. Otherwise the error would be about the
// first of these flags.
func CheckVerb(root *cobra.Command, args []string) error {
	if len(args) == 0 || args[0] == "help" || strings.HasPrefix(args[0], "-") || args[0] == cobra.ShellCompRequestCmd || args[0] == cobra.ShellCompNoDescRequestCmd {
		return nil
	}
	cmd, _, err := root.Find(args[:1])
	if err != nil || cmd == root {
		return UnknownVerb(root, args[0])
	}
	if len(args) == 1 || !cmd.HasSubCommands() || strings.HasPrefix(args[1], "-") {
		return nil
	}
	if below, _, err := root.Find(args[:2]); err != nil || below == cmd {
		return cmd.RunE(cmd, args[1:])
	}
	return nil
}

// UnknownVerb returns the [*exit.Error] for an unknown verb below cmd. Its hint suggests similar verbs.
func UnknownVerb(cmd *cobra.Command, name string) error {
	near := nearest.Names(name, VerbNames(cmd))
	if verb, ok := otherWords[name]; ok && cmd == cmd.Root() {
		near = []string{verb}
	}
	hint := nearest.Hint(near)
	if hint == "" {
		hint = cmd.CommandPath() + " --help lists the verbs"
	}
	return exit.UsageError(hint, "unknown verb %q", name)
}

// VerbNames returns the names of the verbs below cmd.
func VerbNames(cmd *cobra.Command) []string {
	var names []string
	for _, below := range cmd.Commands() {
		if !below.Hidden {
			names = append(names, below.Name())
		}
	}
	slices.Sort(names)
	return names
}

// chooser is the value of a flag that is one of several words.
type chooser interface{ Choices() []string }

// FlagError returns the [*exit.Error] for a flag. Its hint suggests similar flags.
func FlagError(cmd *cobra.Command, err error) error {
	hint := cmd.CommandPath() + " --help"
	if wrong, ok := errors.AsType[*pflag.InvalidValueError](err); ok {
		if choice, ok := wrong.GetFlag().Value.(chooser); ok {
			hint = cmp.Or(nearest.Hint(nearest.Names(wrong.GetValue(), choice.Choices())), hint)
		}
	}
	if unknown, ok := errors.AsType[*pflag.NotExistError](err); ok {
		given := unknown.GetSpecifiedName()
		if cmd == cmd.Root() {
			return exit.UsageError("the verb comes first, as in: fleetssh run -w 'web[1-20]' uptime", "%v", err)
		}
		if cmd.HasSubCommands() {
			return exit.UsageError("it belongs to one of: "+cmd.CommandPath()+" "+strings.Join(VerbNames(cmd), ", "), "%v", err)
		}
		var names []string
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			if !f.Hidden {
				names = append(names, f.Name)
			}
		})
		near := nearest.Names(given, names)
		if name, ok := otherFlags[given]; ok && slices.Contains(names, name) {
			near = []string{name}
		}
		if len(given) == 1 {
			near = nil // single letters are all similar
		}
		for i := range near {
			near[i] = "--" + near[i]
		}
		if text := nearest.Hint(near); text != "" {
			hint = text
		}
	}
	return exit.UsageError(hint, "%v", err)
}
