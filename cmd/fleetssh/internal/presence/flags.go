package presence

import (
	"time"

	"github.com/spf13/pflag"

	"fleetssh/cmd/fleetssh/internal/exit"
	"fleetssh/cmd/fleetssh/internal/flagvalue"
)

// leastPause is the least time between two logins on a host.
const leastPause = 2 * time.Second

// Flags say how hosts are polled.
type Flags struct {
	Every, Timeout time.Duration
}

// Help is the help text of these flags.
const Help = `      --every DUR           least time between two logins on a host (5s; at least
                            2s); up to half as much is added by chance
  -u, --timeout DUR         give up on a host after this time (10m)
`

// OwnPace is why the flags for attempts within a login, and for connections of OpenSSH, have no effect.
const OwnPace = "each attempt is a login of its own, as often as --every and --timeout say"

// Register adds the flags to a verb.
func (f *Flags) Register(flags *pflag.FlagSet) {
	f.Every, f.Timeout = 5*time.Second, 10*time.Minute
	flags.Var(flagvalue.Duration{To: &f.Every}, "every", "")
	flags.VarP(flagvalue.Duration{To: &f.Timeout}, "timeout", "u", "")
}

// Check refuses polling that servers would take for an attack.
func (f *Flags) Check() error {
	if f.Every < leastPause {
		return exit.UsageError("", "--every: must be %v or more: sshd would take the logins for an attack", leastPause)
	}
	return nil
}
