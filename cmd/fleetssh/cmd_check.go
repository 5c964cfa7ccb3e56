package main

import (
	"context"
	"log/slog"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/audit"
	"fleetssh/cmd/fleetssh/internal/display"
	"fleetssh/cmd/fleetssh/internal/exit"
	"fleetssh/cmd/fleetssh/internal/results"
	"fleetssh/cmd/fleetssh/internal/selection"
)

const checkHelp = `Connect to all hosts and log in, and show what the servers are and how long it
took. Nothing is run.

  fleetssh check -w web[1-20],db1
  fleetssh check -w web[1-20] --connect-timeout 5s --attempts 1
  fleetssh check -w web[1-20] --format json | jq 'select(.ok == false)'

usage: fleetssh check [options]

` + selection.Help + `
Output:
      --format FORMAT       stream: what hosts have in common and which of them
                            differ, when all are done (default)
                            json: one object per line, with everything
      --verbose             stream: also some lines per host, when it is done
` + display.LookHelp + `
The table has the versions of the servers, the algorithms that client and server
agreed on, the kinds of host keys, the login methods that the hosts allow, and
the methods and keys that were accepted. post-quantum says which hosts lack a key
exchange that withstands quantum computers. connect is the name lookup and the
connection, handshake the key exchange and the check of the host key, login the
authentication; hop is the wait for the connection to the hop, which all hosts
behind it share. Texts that hosts send before a login (banners) follow, each one
once.
DUR is 10 or 10s for seconds, 500ms, 2m.

`

// checkOptions are the flags of check.
type checkOptions struct {
	hosts   selection.Flags
	format  string
	verbose bool
	look    display.Look
}

func (o *checkOptions) register(flags *pflag.FlagSet) {
	o.hosts.Register(flags)
	registerFormat(flags, &o.format)
	flags.BoolVar(&o.verbose, "verbose", false, "")
	o.look.Register(flags)
	display.RegisterTrace(flags, "v")
}

func newCheck(c *app) *cobra.Command {
	o := new(checkOptions)
	cmd := &cobra.Command{
		Use:  "check",
		Long: checkHelp,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return o.hosts.NoCommand("check", args)
			}
			if err := refuseForAgent(cmd.Flags()); err != nil {
				return err
			}
			return o.run(cmd.Context(), c)
		},
	}
	o.register(cmd.Flags())
	return cmd
}

func (o *checkOptions) run(ctx context.Context, c *app) error {
	o.hosts.SkipKeyCheck = true
	hosts, err := o.hosts.Hosts(ctx, c.environment(), o.format != "stream")
	if err != nil {
		return err
	}
	checkCtx, end := c.workContext(ctx)
	defer end()
	client := &fleetssh.ParallelClient{Hosts: selection.Configs(hosts), PoolSize: o.hosts.Fanout, OneShot: true, Logger: slog.New(c.warnings)}
	o.hosts.SetPasswordPolicy(c.environment(), client)
	defer client.Close()
	t := results.New(hosts)
	t.Outstanding.Working = client.Working
	defer c.reportOnRequest(ctx, t.Outstanding, false)()
	show := func(*results.Result) {}
	folds := !o.verbose && len(hosts) > 1
	switch {
	case o.format == "json":
		show = audit.PutHost(c.screen, t)
	case !folds:
		show = audit.ShowHost(c.screen, t)
	}
	endProgress := o.look.ShowProgress(c.screen, t)
	defer endProgress()
	for r := range logIns(checkCtx, client) {
		show(t.AddResult(r))
	}
	endProgress()
	t.Interrupted = ctx.Err() != nil
	if err := c.screen.Failure(); err != nil && !t.Interrupted {
		return exit.OutputError(err)
	}
	if o.format == "json" {
		c.warnings.Show(c.screen)
		audit.PutTotal(c.screen, t)
		return t.Err()
	}
	if len(hosts) > 1 {
		audit.Table(c.screen, t)
	}
	display.ShowBanners(c.screen, t)
	if len(hosts) > 1 {
		audit.Total(c.screen, t)
	}
	c.warnings.Show(c.screen)
	t.ShowFailures(c.screen)
	return t.Err()
}

// logIns logs in to the hosts, PoolSize at once, and returns how each went. The channel
// is closed when all are done; it must be read until then.
func logIns(ctx context.Context, client *fleetssh.ParallelClient) <-chan results.Result {
	ended := make(chan results.Result)
	client.HostDone = func(i int, err error) {
		switch {
		case err == nil: // told below
		case fleetssh.OutcomeOf(err).Kind == fleetssh.Skipped:
			ended <- results.Result{Index: i, Outcome: fleetssh.OutcomeOf(err)}
		default:
			ended <- results.LoginResult(i, &client.Hosts[i], nil, err)
		}
	}
	go func() {
		defer close(ended)
		_ = client.Do(ctx, func(_ context.Context, i int, c *fleetssh.Client) error { // HostDone has its errors
			ended <- results.LoginResult(i, &client.Hosts[i], c, nil)
			return nil
		})
	}()
	return ended
}
