// Command fleetssh runs commands and copies files on many hosts over SSH.
package main

import (
	"context"
	"errors"
	"io"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/display"
	"fleetssh/cmd/fleetssh/internal/exit"
	"fleetssh/cmd/fleetssh/internal/help"
	"fleetssh/cmd/fleetssh/internal/interrupt"
	"fleetssh/cmd/fleetssh/internal/keyaudit"
	"fleetssh/cmd/fleetssh/internal/personality"
	"fleetssh/cmd/fleetssh/internal/record"
	"fleetssh/cmd/fleetssh/internal/results"
	"fleetssh/cmd/fleetssh/internal/selection"
	"fleetssh/cmd/fleetssh/internal/settings"
	"fleetssh/cmd/fleetssh/internal/termline"
	"fleetssh/cmd/fleetssh/internal/topic"
	"fleetssh/cmd/fleetssh/internal/tty"
)

func main() {
	ctx, stop := interrupt.Context(context.Background())
	code := run(ctx, personality.CalledAs(os.Args), stdio{in: os.Stdin, out: os.Stdout, err: os.Stderr})
	stop()
	os.Exit(code)
}

// verbs lists the verbs in the order of the overview.
var verbs = []func(*app) *cobra.Command{newRun, newPut, newGet, newShell, newTunnel, newCheck, newWait, newReboot, newTrust, newHosts, newExplain, newRuns, newRerun, newDemo, newSim, newCompletion, newMan, newVersion, newDshbak,
	newPersonality("pdsh"), newPersonality("pdcp"), newPersonality("rpdcp"), newPersonality("clush"),
	newPersonality("pssh"), newPersonality("pscp"), newPersonality("pslurp")}

// stdio is the standard input and output of the process.
type stdio struct {
	in       io.Reader
	out, err io.Writer
}

// app is the state that the verbs share.
type app struct {
	in     io.Reader
	out    io.Writer // only for a terminal that is attached to a host
	screen *termline.Screen
	ask    func(ctx context.Context, prompt string, echo bool) (string, error)

	warnings *display.Warnings  // of the configuration and the library
	banners  *display.Banners   // of hosts whose logins wait; nil: not shown
	settings *settings.Defaults // of the user's file; nil: none

	// redirect, if not nil, changes a host before it is used, and afterRun gets the results of a run.
	// The demo uses them.
	redirect func(*selection.Host)
	afterRun func(*results.Summary)
}

// environment returns what the flags that select hosts need from the program.
func (c *app) environment() *selection.Env {
	e := &selection.Env{
		In: c.in, Screen: c.screen, Ask: c.ask, Warn: c.warnings.Add, FlushBanners: func() {}, Origin: c.settings.Origin,
		Recorded: record.Hosts, Interrupt: interrupt.Raise, Redirect: c.redirect,
		ConfirmKeys: func(hosts []selection.Host) func(context.Context, fleetssh.NewHostKey) bool {
			return (&keyaudit.Confirmation{Ask: c.ask, Hosts: len(hosts)}).Confirm
		},
	}
	if c.banners != nil {
		e.Banner, e.FlushBanners = c.banners.Add, c.banners.Flush
	}
	return e
}

// prepare applies the flags of a verb that concern all that is shown.
func (c *app) prepare(flags *pflag.FlagSet) {
	display.SetColors(c.screen, flags)
	display.StartTrace(c.screen, c.warnings, flags)
}

// run is the program. It returns the exit code. When ctx ends, it stops the hosts.
func run(ctx context.Context, args []string, std stdio) int {
	screen := termline.New(std.out, std.err)
	c := &app{in: std.in, out: std.out, screen: screen, ask: screen.Ask, warnings: new(display.Warnings), banners: &display.Banners{Screen: screen}}
	args, err := personality.Translate(args, personality.Environment{Getenv: os.Getenv, Terminal: tty.IsTerminal(std.in)})
	if err == nil {
		root := newRoot(c, verbs...)
		c.settings = settings.New(os.Getenv)
		c.settings.Attach(root, c.prepare)
		args = versionFlag(args)
		if err = help.Complete(root, args, screenWriter{screen}, completionNames(c.settings)); err == nil {
			err = help.CheckVerb(root, args)
		}
		if err == nil {
			root.SetArgs(append([]string{}, args...)) // with nil, cobra would take the arguments of the process
			err = root.ExecuteContext(ctx)
		}
	}
	c.banners.Flush()
	code := exit.Report(screen, err)
	if err := screen.Close(); err != nil && code == exit.OK {
		code = exit.Failed
	}
	return code
}

// newRoot returns the command that holds the verbs.
func newRoot(c *app, verbs ...func(*app) *cobra.Command) *cobra.Command {
	show := func(text string) { c.screen.Print([]byte(text)) }
	root := &cobra.Command{
		Use:  "fleetssh",
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				show(topic.Brief())
				return exit.Status(exit.Usage)
			}
			return help.UnknownVerb(cmd, args[0])
		},
		Long: topic.Overview(),
	}
	for _, verb := range verbs {
		root.AddCommand(verb(c))
	}
	root.SetHelpCommand(topic.NewHelp(show))
	// Cobra's own error and help texts would bypass the screen.
	root.SilenceErrors, root.SilenceUsage = true, true
	root.CompletionOptions.DisableDefaultCmd = true
	root.SuggestionsMinimumDistance = 2
	root.SetHelpFunc(func(cmd *cobra.Command, _ []string) { show(help.Text(cmd)) })
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		switch {
		case !errors.Is(err, pflag.ErrHelp):
			return help.FlagError(cmd, err)
		case cmd == root:
			show(topic.Brief())
		default:
			show(help.Brief(cmd))
		}
		return nil
	})
	help.AddFlags(root)
	return root
}

// newPersonality returns a hidden verb for the help of another tool.
func newPersonality(tool string) func(*app) *cobra.Command {
	return func(*app) *cobra.Command {
		return &cobra.Command{
			Use:    tool,
			Hidden: true,
			Args:   cobra.ArbitraryArgs,
			Long:   personality.Help(tool),
			RunE: func(*cobra.Command, []string) error {
				return exit.UsageError("fleetssh --as "+tool+" accepts its options", "%s is not a verb", tool)
			},
		}
	}
}

// versionFlag turns --version, which most programs have, into the verb.
func versionFlag(args []string) []string {
	if len(args) > 0 && (args[0] == "--version" || args[0] == "-V") {
		return append([]string{"version"}, args[1:]...)
	}
	return args
}
