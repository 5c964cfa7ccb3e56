package display

import (
	"github.com/spf13/pflag"

	"fleetssh/cmd/fleetssh/internal/flagvalue"
	"fleetssh/cmd/fleetssh/internal/results"
	"fleetssh/cmd/fleetssh/internal/termline"
)

// Look is the flags for the status line and for colours. Verbs have them that contact hosts.
type Look struct{ progress, color string }

// lookHelp is the help text of these flags.
const (
	lookHelp = `      --progress WHEN       a status line on standard error: auto (on a terminal),
                            always, never, or plain: a line every 10s, later less
                            often, for logs; always is plain without a terminal.
                            Enter or Ctrl-\ lists the hosts that are not done,
                            and what each is doing
` + colorHelp
	colorHelp = `      --color WHEN          auto (on a terminal; NO_COLOR turns colours off,
                            CLICOLOR_FORCE on), always, never
`
)

// LookHelp is the help text of the flags of Look and of --trace.
const LookHelp = lookHelp + TraceHelp

// Register adds the flags to a verb.
func (l *Look) Register(flags *pflag.FlagSet) {
	l.progress = "auto"
	flags.Var(flagvalue.Choice{To: &l.progress, From: progressWords}, "progress", "")
	l.registerColor(flags)
}

func (l *Look) registerColor(flags *pflag.FlagSet) {
	l.color = "auto"
	flags.Var(flagvalue.Choice{To: &l.color, From: whenWords}, "color", "")
}

// ShowProgress shows the progress of work on hosts until end is called.
func (l *Look) ShowProgress(screen *termline.Screen, t *results.Summary) (end func()) {
	return startStatus(screen, l.progress, hostsStatus(t)).end
}

// whenWords are the values of --color.
var whenWords = []string{"auto", "always", "never"}

// colors are the values of --color but auto.
var colors = map[string]termline.Colors{"always": termline.ColorsAlways, "never": termline.ColorsNever}

// SetColors applies --color of a verb, if it has that flag, to everything that is shown.
func SetColors(screen *termline.Screen, flags *pflag.FlagSet) {
	if color := flags.Lookup("color"); color != nil {
		screen.SetColors(colors[color.Value.String()])
	}
}
