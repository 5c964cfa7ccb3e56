package main

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/display"
	"fleetssh/cmd/fleetssh/internal/exit"
	"fleetssh/cmd/fleetssh/internal/flagvalue"
	"fleetssh/cmd/fleetssh/internal/results"
	"fleetssh/cmd/fleetssh/internal/selection"
	"fleetssh/sshconfig"
)

const tunnelHelp = `Forward ports and sockets, or serve one proxy into all hosts, until you press
Ctrl-C. Only the SSH port of the hosts has to be reachable.

  fleetssh tunnel -w db1 -L 5432:localhost:5432     as with ssh
  fleetssh tunnel -w web[01-20] --each 9100         a local port for every host
  fleetssh tunnel -w web[01-20] --serve 1080        one proxy for all of them:
  curl -x socks5h://127.0.0.1:1080 http://web07:9100/metrics

usage: fleetssh tunnel [options]

Forwarding:
  -L, --local AT:TO         listen locally and connect from the host, one host
                            only; AT is [bind:]port or /socket, TO host:port or
                            /socket
  -R, --remote AT:TO        listen on all hosts and connect from this machine;
                            written as for -L
  -D, --dynamic AT          listen locally as a SOCKS proxy that connects from the
                            host, one host only
      --each TO             listen locally for every host, on a port of its own,
                            and connect from that host to a port of its localhost,
                            to host:port or /socket
      --base-port N         the ports of --each: N for the first host, N+1 for the
                            next, and so on; by default any free ones
      --serve AT            one local proxy, SOCKS and HTTP, for all hosts:
                            HOST:PORT reaches that port of localhost on HOST

-L, -R, -D and --each may be given several times, and combined. Without bind,
127.0.0.1 is listened on; an empty one, or *, means all addresses. Other users of
this machine can connect to 127.0.0.1; a Unix socket is accessible only to you.

For --serve, HOST is a name as given to -w, or its HostName in ssh_config; a
number tells apart hosts that share a name, as in 3.web1. Names that are not in
this fleet are refused.

Output:
      --format FORMAT       text: where each tunnel listens and leads to (default)
                            json: one object per line
` + display.TraceHelp + `
` + selection.Help + `
All hosts are connected to at the start. Unless all of them fail, the tunnels of
unreachable hosts are open too, and connect when they are used; the same holds for
a connection that is lost later. Clients of a host that cannot be reached are
reset. For -R, hosts are tried again until they listen.

Ctrl-C is no failure: the exit code is 0, or 4 if some hosts could not be reached
at the start. If none can be reached, the program ends at once.

`

// tunnelKeepAlive is how long a connection may be silent before it is probed, unless ssh_config says
// otherwise. It is short, so that a tunnel soon finds out that its host is gone.
const tunnelKeepAlive = 15 * time.Second

// tunnelOptions are the flags of tunnel.
type tunnelOptions struct {
	hosts                selection.Flags
	local, remote, socks []string
	each                 []string
	basePort             int
	serve                string
	format               string
}

func (o *tunnelOptions) register(flags *pflag.FlagSet) {
	o.hosts.Use = sshconfig.UseTunnels
	o.hosts.Register(flags)
	flags.StringArrayVarP(&o.local, "local", "L", nil, "")
	flags.StringArrayVarP(&o.remote, "remote", "R", nil, "")
	flags.StringArrayVarP(&o.socks, "dynamic", "D", nil, "")
	flags.StringArrayVar(&o.each, "each", nil, "")
	flags.Var(flagvalue.Number{To: &o.basePort, Min: 1, Max: 65535}, "base-port", "")
	flags.StringVar(&o.serve, "serve", "", "")
	o.format = "text"
	flags.Var(flagvalue.Choice{To: &o.format, From: []string{"text", "json"}}, "format", "")
	display.RegisterTrace(flags, "v")
}

func newTunnel(c *app) *cobra.Command {
	o := new(tunnelOptions)
	cmd := &cobra.Command{
		Use:  "tunnel",
		Long: tunnelHelp,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return exit.UsageError(o.hosts.UnquotedHint(args, "fleetssh tunnel --help"), "tunnel takes no arguments, only options")
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

func (o *tunnelOptions) run(ctx context.Context, c *app) error {
	plans, err := o.plans()
	if err != nil {
		return err
	}
	hosts, err := o.hosts.Hosts(ctx, c.environment(), o.format != "text")
	if err != nil {
		return err
	}
	if len(hosts) > 1 && len(o.local) > 0 {
		return exit.UsageError("--each PORT gives each host a port of its own, --serve PORT serves a proxy for all", "-L works with one host only, not %d", len(hosts))
	}
	if len(hosts) > 1 && len(o.socks) > 0 {
		return exit.UsageError("--serve PORT serves one proxy for all", "-D works with one host only, not %d", len(hosts))
	}
	for i := range hosts {
		if hosts[i].Config.KeepAlive == 0 {
			hosts[i].Config.KeepAlive = tunnelKeepAlive
		}
	}
	news := &display.News{Screen: c.screen}
	client := &fleetssh.ParallelClient{Hosts: selection.Configs(hosts), PoolSize: o.hosts.Fanout, Logger: slog.New(c.warnings), TunnelChanged: news.Add}
	o.hosts.SetPasswordPolicy(c.environment(), client)
	defer client.Close()
	workCtx, stop := context.WithCancel(ctx)
	defer stop()
	c.screen.OnFailure(func(error) { stop() })

	work := &tunnelRun{hosts: hosts, client: client, plans: plans, summary: results.New(hosts)}
	if err := work.start(workCtx); err != nil {
		return err
	}
	c.warnings.Show(c.screen)
	if ctx.Err() == nil {
		work.showTunnels(c.screen, o.format)
		c.screen.Flush()
	}
	work.summary.ShowFailures(c.screen)
	if work.summary.Failed() < len(hosts) && workCtx.Err() == nil {
		news.Begin(workCtx)
		ended := work.ended()
		select {
		case <-workCtx.Done():
		case err = <-ended:
		}
		news.End()
	} else {
		work.summary.Interrupted = ctx.Err() != nil
	}
	client.Close()
	c.warnings.Show(c.screen)
	if failure := c.screen.Failure(); failure != nil {
		return exit.OutputError(failure)
	}
	if o.format == "json" {
		s := work.summary.JSONSummary()
		s.Outcomes = make(map[string]int)
		for i := range work.summary.Results {
			s.Outcomes[work.summary.Results[i].LoginOutcome()]++
		}
		display.PutJSON(c.screen, s)
	}
	if err != nil {
		return err
	}
	return work.summary.Err()
}

// plans returns what the flags ask for.
func (o *tunnelOptions) plans() ([]tunnelPlan, error) {
	var plans []tunnelPlan
	for _, text := range o.local {
		listen, target, err := flagvalue.ParseForward(text)
		if err != nil {
			return nil, exit.UsageError("-L 5432:localhost:5432, as with ssh", "-L %s: %v", text, err)
		}
		plans = append(plans, tunnelPlan{flag: "-L " + text, kind: "local", listen: listen, target: target})
	}
	for _, text := range o.remote {
		listen, target, err := flagvalue.ParseForward(text)
		if err != nil {
			return nil, exit.UsageError("-R 8080:localhost:80, as with ssh", "-R %s: %v", text, err)
		}
		plans = append(plans, tunnelPlan{flag: "-R " + text, kind: "remote", listen: listen, target: target})
	}
	for _, text := range o.socks {
		listen, err := flagvalue.ParseBind(text)
		if err != nil {
			return nil, exit.UsageError("-D 1080, as with ssh", "-D %s: %v", text, err)
		}
		plans = append(plans, tunnelPlan{flag: "-D " + text, kind: "socks", listen: listen})
	}
	for _, text := range o.each {
		plans = append(plans, tunnelPlan{flag: "--each " + text, kind: "each", listen: strconv.Itoa(o.basePort), target: text})
	}
	if o.serve != "" {
		listen, err := flagvalue.ParseBind(o.serve)
		if err != nil {
			return nil, exit.UsageError("--serve 1080", "--serve %s: %v", o.serve, err)
		}
		plans = append(plans, tunnelPlan{flag: "--serve " + o.serve, kind: "proxy", listen: listen})
	}
	switch {
	case plans == nil:
		return nil, exit.UsageError("fleetssh tunnel --help", "no tunnel given: add -L, -R, -D, --each or --serve")
	case o.basePort != 0 && len(o.each) == 0:
		return nil, exit.UsageError("", "--base-port needs --each")
	case o.basePort != 0 && len(o.each) > 1:
		return nil, exit.UsageError("leave --base-port out, and each gets a free port", "--base-port works with one --each only")
	}
	return plans, nil
}

// tunnelPlan is what one flag asks for.
type tunnelPlan struct {
	flag, kind     string
	listen, target string
}

// tunnelRun is the tunnels of one call.
type tunnelRun struct {
	hosts   []selection.Host
	client  *fleetssh.ParallelClient
	plans   []tunnelPlan
	summary *results.Summary
	tunnels [][]*fleetssh.Tunnel // by plan, then by host; one proxy is for all hosts
	failed  [][]error            // by plan, then by host
}

// start opens all tunnels at once, and records the hosts that failed. The error is about this machine,
// such as a port that is in use.
func (w *tunnelRun) start(ctx context.Context) error {
	w.tunnels = make([][]*fleetssh.Tunnel, len(w.plans))
	errs := make([]error, len(w.plans))
	var wg sync.WaitGroup
	for n, plan := range w.plans {
		wg.Go(func() { w.tunnels[n], errs[n] = w.forward(ctx, plan) })
	}
	wg.Wait()
	w.failed = make([][]error, len(w.plans))
	for n, err := range errs {
		w.failed[n] = make([]error, len(w.hosts))
		of, some := errors.AsType[*fleetssh.HostsError](err)
		if _, wrong := err.(*fleetssh.ConfigError); wrong {
			return exit.UsageError("fleetssh tunnel --help", "%s: %v", w.plans[n].flag, selection.UsageError(err, w.hosts))
		}
		if err != nil && !some {
			return &exit.Error{Code: exit.Failed, Text: w.plans[n].flag + ": " + err.Error()}
		}
		if some {
			for _, f := range of.Failed {
				w.failed[n][f.Index] = f.Err
			}
		}
	}
	for i := range w.hosts {
		w.summary.AddResult(w.result(i))
	}
	return nil
}

// result returns the result of a host: whether all its tunnels are open.
func (w *tunnelRun) result(i int) results.Result {
	for _, failed := range w.failed {
		if failed[i] != nil {
			return w.failure(i, failed[i])
		}
	}
	return results.Result{Index: i, OK: true, Outcome: fleetssh.Outcome{Kind: fleetssh.Exited}}
}

func (w *tunnelRun) failure(i int, err error) results.Result {
	return results.LoginResult(i, &w.client.Hosts[i], nil, err)
}

func (w *tunnelRun) forward(ctx context.Context, plan tunnelPlan) ([]*fleetssh.Tunnel, error) {
	switch plan.kind {
	case "remote":
		return w.client.ForwardRemote(ctx, plan.listen, plan.target)
	case "socks":
		return w.client.ForwardSOCKS(ctx, plan.listen)
	case "proxy":
		t, err := w.client.ForwardProxy(ctx, plan.listen)
		return []*fleetssh.Tunnel{t}, err
	}
	return w.client.ForwardLocal(ctx, plan.listen, plan.target)
}

// ended returns a channel that receives the reason when all tunnels have ended.
func (w *tunnelRun) ended() <-chan error {
	ended := make(chan error, 1)
	go func() {
		var first error
		for n, plan := range w.plans {
			for _, t := range w.tunnels[n] {
				if err := t.Wait(); err != nil && first == nil {
					first = &exit.Error{Code: exit.Failed, Text: plan.flag + ": " + err.Error()}
				}
			}
		}
		ended <- first
	}()
	return ended
}
