// Command fleetssh runs commands and copies files on many hosts over SSH.
package main

import (
	"context"
	"io"
	"os"

	"github.com/spf13/cobra"

	"fleetssh/cmd/fleetssh/internal/display"
	"fleetssh/cmd/fleetssh/internal/exit"
	"fleetssh/cmd/fleetssh/internal/help"
	"fleetssh/cmd/fleetssh/internal/interrupt"
	"fleetssh/cmd/fleetssh/internal/personality"
	"fleetssh/cmd/fleetssh/internal/record"
	"fleetssh/cmd/fleetssh/internal/results"
	"fleetssh/cmd/fleetssh/internal/selection"
	"fleetssh/cmd/fleetssh/internal/settings"
	"fleetssh/cmd/fleetssh/internal/termline"
	"fleetssh/cmd/fleetssh/internal/tty"
)

func main() {
	ctx, stop := interrupt.Context(context.Background())
	code := run(ctx, personality.CalledAs(os.Args), stdio{in: os.Stdin, out: os.Stdout, err: os.Stderr})
	stop()
	os.Exit(code)
}

// verbs lists the verbs in the order of the overview.
var verbs = []func(*app) *cobra.Command{newRun, newPut, newGet, newShell, newTunnel, newCheck, newTrust, newHosts, newExplain, newRuns, newRerun, newDemo, newSim, newCompletion, newMan, newVersion, newDshbak,
	newPersonality("pdsh"), newPersonality("pdcp"), newPersonality("rpdcp"), newPersonality("clush"),
	newPersonality("pssh"), newPersonality("pscp"), newPersonality("pslurp")}

const overview = `Run commands, copy files and open tunnels on many hosts over SSH.

  fleetssh run -w web[1-20] uptime          run a command on twenty hosts
  fleetssh run -w web[1-20] --sudo -- systemctl restart nginx
  fleetssh put -w web[1-20] app.conf /etc/app/app.conf
  fleetssh shell -w web[1-20]               one prompt, twenty hosts
  fleetssh tunnel -w web[1-9] --serve 1080  one proxy into all of them
  fleetssh check -w web[1-20],db1           can I log in, and how long does it take?
  fleetssh trust scan -w web[1-20]          which host keys, and what has changed?
  fleetssh demo                             try it now: eight simulated hosts

Verbs:
  run         run a command on all hosts
  put         copy files and directories to all hosts
  get         copy files and directories from all hosts, one directory per host
  shell       one prompt, many hosts
  tunnel      forward ports and sockets, or serve one proxy into all hosts
  check       connect and log in only; show how long each phase takes
  trust       collect host keys, show what has changed, add new ones
  hosts       list, expand, fold or count the hosts an expression matches
  explain     show how a host would be reached, and why; nothing is contacted
  runs        list earlier runs and how they ended
  rerun       repeat an earlier run on some of its hosts
  demo        show the main features on eight simulated hosts
  sim         start a simulated fleet on this machine, to try, test and measure
  completion  write a completion script for bash, zsh, fish or PowerShell
  man         write manual pages for all verbs
  version     show version, commit, Go version and system
  help        show this text, or the help of a verb

fleetssh VERB --help shows the options of a verb. Their defaults can be changed in
~/.config/fleetssh/config.toml; --config FILE names another file, --config none
reads none.

`

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
	}
	if c.banners != nil {
		e.Banner, e.FlushBanners = c.banners.Add, c.banners.Flush
	}
	return e
}

// run is the program. It returns the exit code. When ctx ends, it stops the hosts.
func run(ctx context.Context, args []string, std stdio) int {
	screen := termline.New(std.out, std.err)
	c := &app{in: std.in, out: std.out, screen: screen, ask: screen.Ask, warnings: new(display.Warnings), banners: &display.Banners{Screen: screen}}
	args, err := personality.Translate(args, personality.Environment{Getenv: os.Getenv, Terminal: tty.IsTerminal(std.in)})
	if err == nil {
		root := newRoot(c, verbs...)
		c.settings = settings.New(os.Getenv)
		c.settings.Attach(root)
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
	root := &cobra.Command{
		Use:  "fleetssh",
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				c.screen.Print([]byte(help.Text(cmd)))
				return exit.Status(exit.Usage)
			}
			return help.UnknownVerb(cmd, args[0])
		},
		Long: overview,
	}
	for _, verb := range verbs {
		root.AddCommand(verb(c))
	}
	root.SetHelpCommand(newHelp(c))
	// Cobra's own error and help texts would bypass the screen.
	root.SilenceErrors, root.SilenceUsage = true, true
	root.CompletionOptions.DisableDefaultCmd = true
	root.SuggestionsMinimumDistance = 2
	root.SetHelpFunc(func(cmd *cobra.Command, _ []string) { c.screen.Print([]byte(help.Text(cmd))) })
	root.SetFlagErrorFunc(help.FlagError)
	return root
}

func newHelp(c *app) *cobra.Command {
	return &cobra.Command{
		Use:   "help [VERB]",
		Short: "Show the help of a verb",
		Args:  cobra.ArbitraryArgs,
		ValidArgsFunction: func(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
			about := cmd.Root()
			if found, _, err := about.Find(args); err == nil {
				about = found
			}
			return help.WithPrefix(word, "", help.VerbNames(about)), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			about := cmd.Root()
			if len(args) > 0 {
				found, _, err := about.Find(args)
				if err != nil || found == about {
					return help.UnknownVerb(about, args[0])
				}
				about = found
			}
			c.screen.Print([]byte(help.Text(about)))
			return nil
		},
	}
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
