package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"fleetssh"
)

const runHelp = `Run a command on all hosts and show what it writes.

  fleetssh run -w web[1-20] uptime
  fleetssh run -w web[1-20],db1 -x web7 -- df -h /
  fleetssh run -w web[1-20] --sudo --ask-sudo-pass -- systemctl restart nginx
  fleetssh run -w web[1-20] --timeout 30s --stdin deploy.sh -- sh -s v1.2
  fleetssh run -w web[1-20] --format json -- uname -r | jq .

usage: fleetssh run [options] [--] COMMAND...

Options end at the command; its words are joined with spaces, as ssh does.

` + hostFlagsHelp + `
How to run:
  -u, --timeout DUR         stop the command after this time (never)
      --sudo                run it as root
      --run-as USER         run it as another user, with sudo
      --ask-sudo-pass       ask once for the password of sudo on all hosts
      --shell SHELL         shell to run it with, such as "bash -c"
      --env NAME=VALUE      set a variable; may be given several times. Others on
                            the host can see it: no place for secrets
      --stdin FILE          give every host the content of FILE (-: of standard
                            input) as standard input; otherwise it is empty
      --tty                 ask for a terminal on the hosts

` + careFlagsHelp + `
` + showFlagsHelp + `
` + recordFlagsHelp + `
DUR is 10 or 10s for seconds, 500ms, 2m.

`

// runOptions are the flags of run.
type runOptions struct {
	hosts hostFlags

	timeout     time.Duration
	sudo        bool
	runAs       string
	askSudoPass bool
	shell       string
	env         []string
	stdin       string
	tty         bool

	care careFlags
	show showFlags

	record recordFlags
}

func (o *runOptions) register(flags *pflag.FlagSet) {
	o.hosts.register(flags)
	flags.VarP(durationValue{to: &o.timeout}, "timeout", "u", "")
	flags.BoolVar(&o.sudo, "sudo", false, "")
	flags.StringVar(&o.runAs, "run-as", "", "")
	flags.BoolVar(&o.askSudoPass, "ask-sudo-pass", false, "")
	flags.StringVar(&o.shell, "shell", "", "")
	flags.StringArrayVar(&o.env, "env", nil, "")
	flags.StringVar(&o.stdin, "stdin", "", "")
	flags.BoolVar(&o.tty, "tty", false, "")
	o.care.register(flags)
	o.show.register(flags)
	o.record.register(flags)
}

// registerFormat adds the flag of verbs that show a line or an object a host.
func registerFormat(flags *pflag.FlagSet, to *string) {
	*to = "stream"
	flags.Var(choiceValue{to, []string{"stream", "json"}}, "format", "")
}

func newRun(c *call) *cobra.Command {
	o := new(runOptions)
	cmd := &cobra.Command{
		Use:  "run",
		Long: runHelp,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.record.note(cmd.Flags())
			return o.run(cmd.Context(), c, args)
		},
	}
	o.register(cmd.Flags())
	cmd.Flags().SetInterspersed(false)
	return cmd
}

// run runs the command.
func (o *runOptions) run(ctx context.Context, c *call, args []string) error {
	command, err := o.command(args)
	if err != nil {
		return err
	}
	hosts, err := o.hosts.configs(ctx, c, o.show.format == "json")
	if err != nil {
		return err
	}
	if o.tty {
		command.PTY = o.terminal()
	}
	if o.care.argsFile != "" {
		if command.HostArgs, err = argsFor(o.care.argsFile, hosts); err != nil {
			return err
		}
	}
	sizes, err := o.care.sizes(len(hosts))
	if err != nil {
		return err
	}
	if o.care.dryRun {
		return o.care.showPlan(c, hosts, command, sizes)
	}
	if err := o.care.confirm(ctx, c, fmt.Sprintf("run %q", command.Line), len(hosts)); err != nil {
		return err
	}
	r := &runner{course: course{c: c, care: &o.care, hosts: hosts}, o: o}
	if o.stdin != "" {
		in, err := o.input(c)
		if err != nil {
			return err
		}
		defer in.Close()
		r.stdin = in
	}
	if o.askSudoPass {
		secret, err := c.askSecret(ctx, "sudo password: ")
		if err != nil {
			return err
		}
		command.SudoPassword = func(context.Context, fleetssh.HostConfig) (string, error) { return secret, nil }
	}
	if err := o.show.prepare(); err != nil {
		return err
	}
	r.command = command
	return r.run(ctx, sizes)
}

// command returns what to run, as far as the flags say it. What is wrong with
// them is a wrong usage.
func (o *runOptions) command(args []string) (fleetssh.Command, error) {
	line := strings.Join(args, " ")
	switch {
	case strings.TrimSpace(line) == "":
		return fleetssh.Command{}, usageError("fleetssh run -w HOSTS COMMAND", "no command given")
	case o.askSudoPass && !o.sudo && o.runAs == "":
		return fleetssh.Command{}, usageError("add --sudo or --run-as USER", "--ask-sudo-pass without sudo")
	}
	if err := o.show.check(); err != nil {
		return fleetssh.Command{}, err
	}
	if err := o.care.check(); err != nil {
		return fleetssh.Command{}, err
	}
	if err := o.record.check(); err != nil {
		return fleetssh.Command{}, err
	}
	command := fleetssh.Command{Line: line, Sudo: o.sudo, User: o.runAs, Shell: o.shell, Timeout: o.timeout}
	for _, variable := range o.env {
		name, value, ok := strings.Cut(variable, "=")
		if !ok || name == "" {
			return fleetssh.Command{}, usageError("", "--env %q: want NAME=VALUE", variable)
		}
		if command.Env == nil {
			command.Env = make(map[string]string)
		}
		command.Env[name] = value
	}
	if _, err := command.CommandLine(0); err != nil {
		return fleetssh.Command{}, usageError("", "%v", err)
	}
	return command, nil
}

// terminal returns a terminal like ours.
func (o *runOptions) terminal() *fleetssh.PTY {
	pty := &fleetssh.PTY{Term: os.Getenv("TERM")}
	if cols, rows, err := term.GetSize(int(os.Stdout.Fd())); err == nil {
		pty.Cols, pty.Rows = cols, rows
	}
	return pty
}

// input opens what every host reads.
func (o *runOptions) input(c *call) (io.ReadCloser, error) {
	if o.stdin == "-" {
		return io.NopCloser(c.in), nil
	}
	file, err := os.Open(o.stdin)
	if err != nil {
		return nil, fmt.Errorf("standard input: %w", err)
	}
	return file, nil
}
