package main

import (
	"errors"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// otherWords are words of other programs, and the verbs that do what they mean.
var otherWords = map[string]string{
	"exec": "run", "execute": "run", "command": "run", "cmd": "run", "ssh": "run",
	"copy": "put", "cp": "put", "upload": "put", "push": "put", "send": "put", "scp": "put",
	"download": "get", "fetch": "get", "pull": "get", "rcopy": "get",
	"ping": "check", "test": "check", "login": "shell", "console": "shell",
	"forward": "tunnel", "proxy": "tunnel", "list": "hosts", "ls": "hosts", "nodes": "hosts",
	"history": "runs", "log": "runs", "repeat": "rerun", "retry": "rerun", "keyscan": "trust",
}

// knownVerb refuses a word that is no verb before its flags are read: those of the verb that
// was meant are none of the program.
func knownVerb(root *cobra.Command, args []string) error {
	if len(args) == 0 || args[0] == "help" || strings.HasPrefix(args[0], "-") || args[0] == cobra.ShellCompRequestCmd || args[0] == cobra.ShellCompNoDescRequestCmd {
		return nil
	}
	if cmd, _, err := root.Find(args[:1]); err != nil || cmd == root {
		return unknownVerb(root, args[0])
	}
	return nil
}

func unknownVerb(root *cobra.Command, name string) error {
	var verbs []string
	for _, cmd := range root.Commands() {
		if !cmd.Hidden {
			verbs = append(verbs, cmd.Name())
		}
	}
	slices.Sort(verbs)
	near := nearest(name, verbs)
	if verb, ok := otherWords[name]; ok {
		near = []string{verb}
	}
	hint := didYouMean(near)
	if hint == "" {
		hint = "fleetssh --help lists the verbs"
	}
	return usageError(hint, "unknown verb %q", name)
}

// flagError is what is wrong with a flag, with the nearest that there is.
func flagError(cmd *cobra.Command, err error) error {
	hint := cmd.CommandPath() + " --help"
	if unknown, ok := errors.AsType[*pflag.NotExistError](err); ok {
		given := unknown.GetSpecifiedName()
		if cmd == cmd.Root() {
			return usageError("the verb comes first, as in: fleetssh run -w 'web[1-20]' uptime", "%v", err)
		}
		var names []string
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			if !f.Hidden {
				names = append(names, f.Name)
			}
		})
		near := nearest(given, names)
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
	return usageError(hint, "%v", err)
}

// versionFlag makes the verb of --version, which most programs know.
func versionFlag(args []string) []string {
	if len(args) > 0 && (args[0] == "--version" || args[0] == "-V") {
		return append([]string{"version"}, args[1:]...)
	}
	return args
}

// expanded says what may have happened if a command begins with what looks like a host: the
// shell has made several words of an expression that was not quoted.
func (f *selectFlags) expanded(command []string) string {
	if len(command) < 2 || len(f.hosts) == 0 {
		return ""
	}
	last := f.hosts[len(f.hosts)-1]
	shape := func(name string) string {
		return strings.Map(func(r rune) rune {
			if '0' <= r && r <= '9' {
				return '0'
			}
			return r
		}, name)
	}
	next := strings.TrimSuffix(command[0], ",")
	if next == last || shape(next) == next || shape(next) != shape(last) {
		return ""
	}
	return next + " is the command, and looks like a host: quote expressions, as in -w 'web[1-3]', and separate hosts by commas"
}
