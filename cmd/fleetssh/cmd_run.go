package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/display"
	"fleetssh/cmd/fleetssh/internal/exit"
	"fleetssh/cmd/fleetssh/internal/flagvalue"
	"fleetssh/cmd/fleetssh/internal/journal"
	"fleetssh/cmd/fleetssh/internal/localscript"
	"fleetssh/cmd/fleetssh/internal/record"
	"fleetssh/cmd/fleetssh/internal/selection"
	"fleetssh/cmd/fleetssh/internal/settings"
	"fleetssh/cmd/fleetssh/internal/stdin"
	"fleetssh/cmd/fleetssh/internal/tty"
	"fleetssh/sshconfig"
)

const runHelp = `Run a command on all hosts and show its output.

  fleetssh run -w web[1-20] uptime
  fleetssh run -w web[1-20],db1 -x web7 -- df -h /
  fleetssh run -w web[1-20] --sudo --ask-sudo-pass -- systemctl restart nginx
  fleetssh run -w web[1-20] --timeout 30s --script deploy.sh v1.2
  fleetssh run -w web[1-20] --format json -- uname -r | jq .
  fleetssh run -w web1 --tty

usage: fleetssh run [options] [--] COMMAND...
       fleetssh run [options] --script FILE [--] [ARGUMENT...]

Options end at the command. Its words are joined with spaces, as ssh does; the
arguments of a script are passed unchanged.

` + selection.Help + `
Running the command:
  -u, --timeout DUR         stop the command after this time (never)
      --sudo                run it as root
      --run-as USER         run it as another user, with sudo
      --ask-sudo-pass       ask once for the sudo password of all hosts
      --sudo-password-file FILE
                            read it as --password-file does
      --sudo-password-command LINE
                            read it as --password-command does
      --shell SHELL         shell to run it with, such as "bash -c"
      --env NAME=VALUE      set a variable; may be given several times. Others on
                            the host can see it: do not put secrets in it
      --stdin FILE          give every host the content of FILE (-: of standard
                            input) as standard input; by default it is empty
      --script FILE         run a local script (-: from standard input) with the
                            interpreter of its #! line; nothing is left on the
                            hosts. Its standard input is that of --stdin
      --tty                 ask for a terminal on the hosts

With --tty and a single host, the command gets your terminal, if standard input
and output are one and no option asks for another kind of output (--stdin,
--format, -b, --diff, -q, --progress always, --outdir, --errdir). Without a
command, your login shell there runs. All keys are passed through; after a
newline,
  ~.                        disconnects
  ~?                        shows this list
  ~~                        sends a ~
What is typed and shown is not recorded, only how the session ended. With
--exit-policy max the exit code is that of the command, as with ssh.

` + safetyFlagsHelp + `
` + display.Help + `
` + record.Help + `
DUR is 10 or 10s for seconds, 500ms, 2m.

`

// runOptions are the flags of run.
type runOptions struct {
	hosts selection.Flags

	timeout      time.Duration
	sudo         bool
	runAs        string
	sudoPassword selection.PasswordFlags
	shell        string
	env          []string
	stdin        string
	script       string
	tty          bool
	verbose      bool // with --dry-run

	safety safetyFlags
	show   display.Flags

	record record.Flags
	flags  *pflag.FlagSet // as given
}

func (o *runOptions) register(flags *pflag.FlagSet) {
	o.hosts.Use = sshconfig.UseCommands
	o.hosts.Register(flags)
	flags.VarP(flagvalue.Duration{To: &o.timeout}, "timeout", "u", "")
	flags.BoolVar(&o.sudo, "sudo", false, "")
	flags.StringVar(&o.runAs, "run-as", "", "")
	o.sudoPassword.Register(flags, true)
	flags.StringVar(&o.shell, "shell", "", "")
	flags.StringArrayVar(&o.env, "env", nil, "")
	flags.StringVar(&o.stdin, "stdin", "", "")
	flags.StringVar(&o.script, "script", "", "")
	flags.BoolVar(&o.tty, "tty", false, "")
	o.safety.register(flags)
	o.safety.registerArgs(flags)
	flags.BoolVar(&o.verbose, "verbose", false, "")
	o.show.Register(flags)
	flags.Lookup("ui").Annotations = map[string][]string{settings.NotInFile: nil} // scripts have no terminal
	o.record.Register(flags)
}

// registerFormat adds --format for verbs that show one line or object per host.
func registerFormat(flags *pflag.FlagSet, to *string) {
	*to = "stream"
	flags.Var(flagvalue.Choice{To: to, From: []string{"stream", "json"}}, "format", "")
}

func newRun(c *app) *cobra.Command {
	o := new(runOptions)
	cmd := &cobra.Command{
		Use:  "run",
		Long: runHelp,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.flags = cmd.Flags()
			o.record.Capture(o.flags, c.settings)
			return o.run(cmd.Context(), c, args)
		},
	}
	o.register(cmd.Flags())
	cmd.Flags().SetInterspersed(false)
	return cmd
}

// run runs the command.
func (o *runOptions) run(ctx context.Context, c *app, args []string) error {
	r := &runner{rollout: rollout{c: c, safety: &o.safety}, o: o}
	terminal := o.terminal(c)
	if err := o.check(args, terminal); err != nil {
		return err
	}
	if !o.safety.dryRun {
		if err := o.show.CheckFullScreen(c.in, c.out); err != nil {
			return err
		}
	}
	if err := o.command(r, args); err != nil {
		return err
	}
	o.hosts.Offline, o.hosts.TakesInput = o.safety.dryRun, o.stdin == "-" || o.script == "-"
	if name := o.hosts.Unquoted(args); name != "" && len(args) > 1 {
		c.screen.Message("hint: " + name + " is the command, and " + selection.QuoteHint)
	}
	hosts, err := o.hosts.Hosts(ctx, c.environment(), o.show.Format == "json")
	if err != nil {
		return err
	}
	command := r.command
	if o.tty {
		command.PTY = o.pty()
	}
	if len(hosts) != 1 {
		terminal = nil
	}
	if terminal != nil {
		if err := o.refuseForOne(); err != nil {
			return err
		}
	}
	if command.LoginShell && terminal == nil {
		return noCommand()
	}
	if o.safety.argsFile != "" {
		if command.HostArgs, err = selection.ReadArgs(o.safety.argsFile, hosts); err != nil {
			return err
		}
	}
	sizes, err := o.safety.batchSizes(len(hosts))
	if err != nil {
		return err
	}
	r.hosts, r.command, r.stdinUsed = hosts, command, o.stdin == "-" || o.script == "-" || o.show.FullScreen
	if err := r.validate(); err != nil {
		return err
	}
	if o.safety.dryRun {
		defer o.safety.showGate(c.screen)
		return r.showPlan(sizes)
	}
	if err := o.safety.confirmRun(ctx, c, fmt.Sprintf("run %q", r.title), len(hosts)); err != nil {
		return err
	}
	if o.stdin != "" {
		in, err := stdin.Open(o.stdin, c.in)
		if err != nil {
			return err
		}
		defer in.Close()
		r.stdin = in
	}
	if o.sudo || o.runAs != "" {
		if command.SudoPassword, err = c.environment().SudoPasswords(ctx, hosts, &o.sudoPassword); err != nil {
			return err
		}
	}
	if err := o.show.Prepare(); err != nil {
		return err
	}
	r.command = command
	if terminal != nil {
		return r.interact(ctx, terminal)
	}
	for {
		err := r.run(ctx, sizes)
		again, wrong := r.again()
		if again == nil || wrong != nil {
			return cmp.Or(wrong, err)
		}
		r = again
		if sizes, err = o.safety.batchSizes(len(r.hosts)); err != nil {
			return err
		}
	}
}

// check refuses flags that exclude each other.
func (o *runOptions) check(args []string, terminal *tty.Terminal) error {
	empty := strings.TrimSpace(strings.Join(args, " ")) == ""
	switch {
	case o.script != "" && o.tty:
		return exit.UsageError("", "--script and --tty exclude each other: the script comes on standard input")
	case o.script != "" && o.shell != "":
		return exit.UsageError("", "--script and --shell exclude each other: the first line of the script names its interpreter")
	case o.script == "-" && (o.stdin == "-" || slices.Contains(o.hosts.Hostfiles, "-")):
		return exit.UsageError("", "--script - cannot be combined with --stdin - or --hostfile -: standard input is the script")
	case o.verbose && !o.safety.dryRun:
		return exit.UsageError("", "--verbose needs --dry-run")
	case o.script == "" && empty && (terminal == nil || o.sudo || o.runAs != "" || o.shell != "" || len(o.env) > 0 || o.safety.argsFile != ""):
		return noCommand()
	}
	if err := o.sudoPassword.CheckSudo(o.flags, o.sudo || o.runAs != "", &o.hosts.Password); err != nil {
		return err
	}
	if err := o.show.Check(); err != nil {
		return err
	}
	if o.show.FullScreen && (o.tty || o.stdin == "-" || o.script == "-") {
		return exit.UsageError("", "--ui needs the terminal for itself: it cannot be combined with --tty, --stdin - or --script -")
	}
	if err := o.safety.check(); err != nil {
		return err
	}
	return o.record.Check()
}

// refuseForOne refuses flags for many hosts if a single host gets the terminal.
func (o *runOptions) refuseForOne() error {
	names := []string{"batch", "pause", "max-fail", "gate", "gate-local", "step"}
	if o.safety.confirmOver > 0 {
		names = append(names, "confirm-over")
	}
	return refuse(o.flags, "--tty gives the terminal to a single host", names...)
}

func noCommand() error { return exit.UsageError("fleetssh run -w HOSTS COMMAND", "no command given") }

// command sets what to run, as far as the flags determine it.
func (o *runOptions) command(r *runner, args []string) error {
	command := fleetssh.Command{Sudo: o.sudo, User: o.runAs, Shell: o.shell, Timeout: o.timeout}
	line := strings.Join(args, " ")
	switch {
	case o.script != "":
		script, err := localscript.Read(r.c.in, o.script, args)
		if err != nil {
			return err
		}
		command.Script = script.Script
		r.script, r.title, r.program = script, script.Title(), script.Program()
	case strings.TrimSpace(line) == "":
		command.LoginShell = true
		r.title, r.program = "(login shell)", journal.Program{LoginShell: true}
	default:
		command.Line, r.title = line, line
	}
	for _, variable := range o.env {
		name, value, ok := strings.Cut(variable, "=")
		if !ok || name == "" {
			return exit.UsageError("", "--env: want NAME=VALUE")
		}
		if command.Env == nil {
			command.Env = make(map[string]string)
		}
		command.Env[name] = value
	}
	if _, err := command.CommandLine(0); err != nil {
		return exit.UsageError("", "%v", err)
	}
	r.command = command
	return nil
}

// pty returns a request for a terminal like ours.
func (o *runOptions) pty() *fleetssh.PTY {
	pty := &fleetssh.PTY{Term: os.Getenv("TERM")}
	if cols, rows, err := term.GetSize(int(os.Stdout.Fd())); err == nil {
		pty.Cols, pty.Rows = cols, rows
	}
	return pty
}

// terminal returns the terminal to attach to a single host, nil if there is none or a flag asks for
// another kind of output.
func (o *runOptions) terminal(c *app) *tty.Terminal {
	if !o.tty || o.stdin != "" || o.show.NonDefault() {
		return nil
	}
	return tty.New(c.in, c.out)
}
