package main

import (
	"errors"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"fleetssh/cmd/fleetssh/internal/exit"
)

// otherWords are words of other programs, and the verbs that do what they mean.
var otherWords = map[string]string{
	"exec": "run", "execute": "run", "command": "run", "cmd": "run", "ssh": "run",
	"copy": "put", "cp": "put", "upload": "put", "push": "put", "send": "put", "scp": "put",
	"download": "get", "fetch": "get", "pull": "get", "rcopy": "get",
	"ping": "check", "test": "check", "login": "shell", "console": "shell",
	"forward": "tunnel", "proxy": "tunnel", "list": "hosts", "ls": "hosts", "nodes": "hosts",
	"history": "runs", "log": "runs", "repeat": "rerun", "retry": "rerun", "keyscan": "trust scan",
	"scan": "trust scan", "accept": "trust accept",
}

// otherFlags are flags of other programs, and those of ours that do what they mean.
var otherFlags = map[string]string{
	"forks": "fanout", "parallel": "fanout", "jobs": "fanout", "concurrency": "fanout", "user": "login", "host": "hosts",
	"become": "sudo", "ask-become-pass": "ask-sudo-pass", "become-user": "run-as", "ask-password": "ask-pass",
	"sudo-password": "ask-sudo-pass", "sudo-password-file": "ask-sudo-pass", "key-file": "identity", "private-key": "identity",
	"identity-file": "identity", "proxy-jump": "jump", "command-timeout": "timeout", "check": "dry-run",
}

// knownVerb refuses a word that is no verb before its flags are read: those of the verb that
// was meant are none of the program, or of the verb above it.
func knownVerb(root *cobra.Command, args []string) error {
	if len(args) == 0 || args[0] == "help" || strings.HasPrefix(args[0], "-") || args[0] == cobra.ShellCompRequestCmd || args[0] == cobra.ShellCompNoDescRequestCmd {
		return nil
	}
	cmd, _, err := root.Find(args[:1])
	if err != nil || cmd == root {
		return unknownVerb(root, args[0])
	}
	if len(args) == 1 || !cmd.HasSubCommands() || strings.HasPrefix(args[1], "-") {
		return nil
	}
	if below, _, err := root.Find(args[:2]); err != nil || below == cmd {
		return cmd.RunE(cmd, args[1:])
	}
	return nil
}

// unknownVerb is what is wrong with a word that is no verb below cmd.
func unknownVerb(cmd *cobra.Command, name string) error {
	near := nearest(name, verbNames(cmd))
	if verb, ok := otherWords[name]; ok && cmd == cmd.Root() {
		near = []string{verb}
	}
	hint := didYouMean(near)
	if hint == "" {
		hint = cmd.CommandPath() + " --help lists the verbs"
	}
	return exit.UsageError(hint, "unknown verb %q", name)
}

// verbNames returns the verbs below one, or those of the program.
func verbNames(cmd *cobra.Command) []string {
	var names []string
	for _, below := range cmd.Commands() {
		if !below.Hidden {
			names = append(names, below.Name())
		}
	}
	slices.Sort(names)
	return names
}

// flagError is what is wrong with a flag, with the nearest that there is.
func flagError(cmd *cobra.Command, err error) error {
	hint := cmd.CommandPath() + " --help"
	if unknown, ok := errors.AsType[*pflag.NotExistError](err); ok {
		given := unknown.GetSpecifiedName()
		if cmd == cmd.Root() {
			return exit.UsageError("the verb comes first, as in: fleetssh run -w 'web[1-20]' uptime", "%v", err)
		}
		if cmd.HasSubCommands() {
			return exit.UsageError("it belongs to one of: "+cmd.CommandPath()+" "+strings.Join(verbNames(cmd), ", "), "%v", err)
		}
		var names []string
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			if !f.Hidden {
				names = append(names, f.Name)
			}
		})
		near := nearest(given, names)
		if name, ok := otherFlags[given]; ok && slices.Contains(names, name) {
			near = []string{name}
		}
		if len(given) == 1 {
			near = nil // every letter is near every other
		}
		for i := range near {
			near[i] = "--" + near[i]
		}
		if text := didYouMean(near); text != "" {
			hint = text
		}
	}
	return exit.UsageError(hint, "%v", err)
}

// versionFlag makes the verb of --version, which most programs know.
func versionFlag(args []string) []string {
	if len(args) > 0 && (args[0] == "--version" || args[0] == "-V") {
		return append([]string{"version"}, args[1:]...)
	}
	return args
}
