package main

import (
	"github.com/spf13/pflag"

	"fleetssh/cmd/fleetssh/internal/exit"
)

// refuse returns an error if one of the flags was given, which has no effect for the reason in why.
// Flags that the user's settings have set do not count.
func refuse(flags *pflag.FlagSet, why string, names ...string) error {
	for _, name := range names {
		if flag := flags.Lookup(name); flag != nil && flag.Changed {
			return exit.UsageError("", "--%s has no effect here: %s", name, why)
		}
	}
	return nil
}

// refuseForAgent refuses -A for verbs that run no command that could use the agent.
func refuseForAgent(flags *pflag.FlagSet) error {
	return refuse(flags, "no command runs that could use the agent", "forward-agent")
}
