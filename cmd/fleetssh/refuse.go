package main

import (
	"github.com/spf13/pflag"

	"fleetssh/cmd/fleetssh/internal/exit"
)

// refuse returns a wrong usage if one of the flags was given that would have no effect, for the
// reason in why. What the settings of the user say for all verbs does not count: where it has no
// effect, it is not meant.
func refuse(flags *pflag.FlagSet, why string, names ...string) error {
	for _, name := range names {
		if flag := flags.Lookup(name); flag != nil && flag.Changed {
			return exit.UsageError("", "--%s has no effect here: %s", name, why)
		}
	}
	return nil
}

// refuseForAgent refuses to forward the agent where no command would use it.
func refuseForAgent(flags *pflag.FlagSet) error {
	return refuse(flags, "no command runs that could use the agent", "forward-agent")
}
