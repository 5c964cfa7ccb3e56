package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"fleetssh/cmd/fleetssh/internal/display"
	"fleetssh/cmd/fleetssh/internal/exit"
	"fleetssh/cmd/fleetssh/internal/flagvalue"
	"fleetssh/cmd/fleetssh/internal/simulate"
	"fleetssh/cmd/fleetssh/internal/termline"
	"fleetssh/internal/simfleet"
)

const simHelp = `Start a simulated fleet on this machine, to try, test and measure.

  fleetssh sim --hosts 20
  fleetssh sim --hosts 100 --latency 50ms --fail 10% --silent 2
  fleetssh sim --hosts 5 --fault stall-auth --fault-hosts 1
  fleetssh sim --names 'web[01-20],db1' --dir ./fleet
  fleetssh sim --hosts 1000 --dir ./fleet --format json

usage: fleetssh sim [options]

Each host is a real SSH server on a loopback address of its own, 127.1.0.1 and
up, with a small simulated shell: nothing is executed on this machine. Any user
may log in with the key that is shown. The fleet serves until Ctrl-C.

Options:
      --hosts N             number of hosts (10), with the names sim1 and up
      --names HOSTS         names of the hosts, in place of --hosts
      --port PORT           port of all hosts (a free one)
      --latency DUR         time added to every round trip
      --fail N|N%           hosts on which every command exits 1
      --silent N            hosts that accept the connection and send nothing
      --slow N              hosts on which every command takes 2s longer
      --fault NAME          what goes wrong on --fault-hosts:
                            @FAULTS@
      --fault-hosts N       hosts with that fault (1 if --fault is given)
      --output SIZE         what every command writes before its own output, in
                            lines: 500, 64K, 1M
      --sudo-password       sudo on the hosts asks for the password "sim"
      --dir DIR             keep key, known_hosts, ssh_config and host list here
                            (default: in a directory that is removed at the end)
      --format FORMAT       text, or json: one object
      --until-eof           end when standard input ends, too

`

// simSudoPassword is what sudo wants on simulated hosts with --sudo-password.
const simSudoPassword = "sim"

// simOptions are the flags of sim.
type simOptions struct {
	hosts, port  int
	names        string
	latency      time.Duration
	fail         string
	silent, slow int
	fault        string
	faultHosts   int
	output       string
	sudoPassword bool
	dir, format  string
	untilEOF     bool
}

func (o *simOptions) register(flags *pflag.FlagSet) {
	o.hosts = 10
	flags.Var(flagvalue.Number{To: &o.hosts, Min: 1, Max: 60_000}, "hosts", "")
	flags.StringVar(&o.names, "names", "", "")
	flags.Var(flagvalue.Number{To: &o.port, Min: 1, Max: 65535}, "port", "")
	flags.Var(flagvalue.Duration{To: &o.latency, OrZero: true}, "latency", "")
	flags.StringVar(&o.fail, "fail", "0", "")
	flags.Var(flagvalue.Number{To: &o.silent, Min: 0, Max: 60_000}, "silent", "")
	flags.Var(flagvalue.Number{To: &o.slow, Min: 0, Max: 60_000}, "slow", "")
	flags.StringVar(&o.fault, "fault", "", "")
	flags.Var(flagvalue.Number{To: &o.faultHosts, Min: 0, Max: 60_000}, "fault-hosts", "")
	flags.StringVar(&o.output, "output", "0", "")
	flags.BoolVar(&o.sudoPassword, "sudo-password", false, "")
	flags.StringVar(&o.dir, "dir", "", "")
	o.format = "text"
	flags.Var(flagvalue.Choice{To: &o.format, From: []string{"text", "json"}}, "format", "")
	flags.BoolVar(&o.untilEOF, "until-eof", false, "")
}

func newSim(c *app) *cobra.Command {
	o := new(simOptions)
	cmd := &cobra.Command{
		Use:  "sim",
		Long: strings.Replace(simHelp, "@FAULTS@", termline.Wrap(strings.Join(simfleet.FaultNames(), ", "), 28, 78), 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return exit.UsageError("fleetssh sim --help", "sim takes no arguments, only options")
			}
			if cmd.Flags().Changed("hosts") && o.names != "" {
				return exit.UsageError("fleetssh sim --help", "--names cannot be combined with --hosts")
			}
			return o.run(cmd.Context(), c)
		},
	}
	o.register(cmd.Flags())
	return cmd
}

func (o *simOptions) run(ctx context.Context, c *app) error {
	plan, err := o.plan()
	if err != nil {
		return exit.UsageError("fleetssh sim --help", "%v", err)
	}
	sim, err := simulate.Start(plan, o.dir)
	if err != nil {
		return err
	}
	defer sim.Close()
	if o.format == "json" {
		display.PutJSON(c.screen, sim.Describe())
	} else {
		c.screen.Print([]byte(sim.Text()))
	}
	c.screen.Flush()
	ended := make(chan struct{})
	if o.untilEOF {
		// The goroutine ends with the input, or with the process. An error ends the input, too.
		go func() {
			_, _ = io.Copy(io.Discard, c.in)
			close(ended)
		}()
	}
	select {
	case <-ctx.Done():
	case <-ended:
	}
	if o.format == "text" {
		c.screen.Message("fleetssh: " + sim.Served())
	}
	return sim.Close()
}

// plan returns what the flags ask for.
func (o *simOptions) plan() (simulate.Plan, error) {
	p := simulate.Plan{Hosts: o.hosts, Port: o.port, Latency: o.latency, Silent: o.silent, Slow: o.slow, Faulty: o.faultHosts}
	err := p.SetNames(o.names)
	if err != nil {
		return p, fmt.Errorf("--names: %w", err)
	}
	if p.Fault, err = simfleet.ParseFault(o.fault); err != nil {
		return p, err
	}
	if o.fault != "" && p.Faulty == 0 {
		p.Faulty = 1
	}
	if o.fault == "" && p.Faulty > 0 {
		return p, errors.New("--fault-hosts needs --fault")
	}
	if p.Failing, err = share(o.fail, p.Hosts); err != nil {
		return p, fmt.Errorf("--fail: %w", err)
	}
	if p.Output, err = flagvalue.ParseSize(o.output); err != nil {
		return p, fmt.Errorf("--output: %w", err)
	}
	if sum := p.Failing + p.Faulty + p.Silent + p.Slow; sum > p.Hosts {
		return p, fmt.Errorf("faults on %d hosts, but the fleet has %d", sum, p.Hosts)
	}
	if o.sudoPassword {
		p.SudoPassword = simSudoPassword
	}
	return p, nil
}

// share reads "3" or "10%" of n.
func share(text string, n int) (int, error) {
	number, percent := strings.CutSuffix(text, "%")
	k, err := strconv.Atoi(number)
	switch {
	case err != nil || k < 0 || percent && k > 100:
		return 0, fmt.Errorf("%q is neither a number nor a percentage", text)
	case percent:
		return (n*k + 99) / 100, nil
	}
	return k, nil
}
