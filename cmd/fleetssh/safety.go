package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"fleetssh/cmd/fleetssh/internal/exit"
	"fleetssh/cmd/fleetssh/internal/flagvalue"
	"fleetssh/cmd/fleetssh/internal/termline"
)

// safetyFlags limit the damage of a mistake on many hosts.
type safetyFlags struct {
	batch       string
	maxFail     string
	pause       time.Duration
	confirmOver int
	yes         bool
	dryRun      bool
	argsFile    string
	deadline    time.Duration
	exitPolicy  string

	gate, gateLocal string // commands that decide after each batch
	step            bool
}

// safetyFlagsHelp is the help text of these flags.
const safetyFlagsHelp = `Rolling changes safely:
      --dry-run             show what each host would be sent, contact none; for
                            a script, the command line that runs it. Hosts with
                            the same lines share them
      --verbose             with --dry-run: lines of its own for each host
      --args-file FILE      values for %(name)s in the command, by host: CSV whose
                            first line names the columns, one of them host, or
                            JSON: {"web1": {"name": "value"}}; %(name)q is quoted
      --batch SIZES         run on batches of so many hosts: 1,10%,100%; the last
                            size is repeated. The rollout stops after a batch
                            with failed hosts, unless --max-fail allows it. It
                            always stops if all hosts of the first batch fail
      --pause DUR           wait between batches
` + gateHelp + `      --max-fail N          start no more hosts once more than N, or N%, have
                            failed; hosts that are running by then finish
      --confirm-over N      ask before running on more than N hosts
      --yes                 do not ask
      --deadline DUR        stop everything after this time
      --exit-policy POLICY  worst: as below (default); max: the largest exit code
                            of the command, as pdsh -S; none: always 0
`

// gateHelp is the help text of the flags that decide between batches, for all verbs.
const gateHelp = `      --gate COMMAND        run COMMAND after each batch, on its hosts that did
                            not fail; the rollout stops if it fails on any
      --gate-local COMMAND  run COMMAND on this machine after each batch, with the
                            names of these hosts on standard input, and the
                            number of the batch in $FLEETSSH_BATCH
      --step                show each batch folded, and ask before the next one
`

// register adds the flags to a verb.
func (f *safetyFlags) register(flags *pflag.FlagSet) {
	flags.Var(flagvalue.NonEmpty{To: &f.batch}, "batch", "")
	flags.Var(flagvalue.NonEmpty{To: &f.maxFail}, "max-fail", "")
	flags.Var(flagvalue.Duration{To: &f.pause}, "pause", "")
	flags.Var(flagvalue.Number{To: &f.confirmOver, Min: 0, Max: 1_000_000}, "confirm-over", "")
	f.confirmOver = -1
	flags.BoolVar(&f.yes, "yes", false, "")
	flags.BoolVar(&f.dryRun, "dry-run", false, "")
	flags.Var(flagvalue.Duration{To: &f.deadline}, "deadline", "")
	flags.Var(flagvalue.NonEmpty{To: &f.gate}, "gate", "")
	flags.Var(flagvalue.NonEmpty{To: &f.gateLocal}, "gate-local", "")
	flags.BoolVar(&f.step, "step", false, "")
	f.exitPolicy = "worst"
	flags.Var(flagvalue.Choice{To: &f.exitPolicy, From: []string{"worst", "max", "none"}}, "exit-policy", "")
}

// registerArgs adds the flag for verbs with placeholders.
func (f *safetyFlags) registerArgs(flags *pflag.FlagSet) {
	flags.StringVar(&f.argsFile, "args-file", "", "")
}

// check refuses values that are wrong for every number of hosts.
func (f *safetyFlags) check() error {
	if _, err := f.batchSizes(1); err != nil {
		return err
	}
	if _, _, err := f.failureLimit(1); err != nil {
		return err
	}
	for name, given := range map[string]bool{"pause": f.pause > 0, "gate": f.gate != "", "gate-local": f.gateLocal != "", "step": f.step} {
		if given && f.batch == "" {
			return exit.UsageError("add --batch 1,10%,100%", "--%s needs --batch", name)
		}
	}
	switch {
	case f.step && f.yes:
		return exit.UsageError("", "--step and --yes exclude each other")
	case f.step && !f.dryRun && !termline.HasTerminal():
		return exit.UsageError("--gate decides without a terminal", "--step: there is no terminal to ask on")
	}
	return nil
}

// maxHosts is the largest number of hosts in a flag.
const maxHosts = 1_000_000

// parseAmount parses a number or a percentage of hosts.
func parseAmount(text string) (number int, percent bool, err error) {
	digits, percent := strings.CutSuffix(text, "%")
	number, err = strconv.Atoi(digits)
	switch {
	case digits == "" || strings.Trim(digits, "0123456789") != "":
		return 0, false, fmt.Errorf("%q is neither a number nor a percentage", text)
	case percent && (err != nil || number > 100):
		return 0, false, fmt.Errorf("%q is more than 100%%", text)
	case err != nil || number > maxHosts:
		return 0, false, fmt.Errorf("%q is more than %d", text, maxHosts)
	}
	return number, percent, nil
}

// batchSizes returns the sizes of the batches for n hosts.
func (f *safetyFlags) batchSizes(n int) ([]int, error) {
	if f.batch == "" {
		return []int{n}, nil
	}
	var wanted []int
	for word := range strings.SplitSeq(f.batch, ",") {
		size, percent, err := parseAmount(strings.TrimSpace(word))
		if err == nil && size == 0 {
			err = fmt.Errorf("%q: a batch needs at least one host", strings.TrimSpace(word))
		}
		if err != nil {
			return nil, exit.UsageError("as in --batch 1,10%,100%", "--batch: %v", err)
		}
		if percent {
			size = (n*size + 99) / 100
		}
		wanted = append(wanted, size)
	}
	var sizes []int
	for i, left := 0, n; left > 0; i++ {
		size := min(max(wanted[min(i, len(wanted)-1)], 1), left)
		sizes = append(sizes, size)
		left -= size
	}
	return sizes, nil
}

// failureLimit returns how many of n hosts may fail, and whether there is a limit.
func (f *safetyFlags) failureLimit(n int) (most int, limited bool, err error) {
	if f.maxFail == "" {
		return 0, f.batch != "", nil
	}
	most, percent, err := parseAmount(f.maxFail)
	if err != nil {
		return 0, false, exit.UsageError("as in --max-fail 3 or --max-fail 10%", "--max-fail: %v", err)
	}
	if percent {
		most = n * most / 100
	}
	return most, true, nil
}

// confirmRun asks the user before working on more hosts than --confirm-over.
func (f *safetyFlags) confirmRun(ctx context.Context, c *app, what string, hosts int) error {
	if f.confirmOver < 0 || hosts <= f.confirmOver || f.yes || f.dryRun {
		return nil
	}
	agreed, err := c.confirm(ctx, fmt.Sprintf("%s on %d hosts", what, hosts))
	switch {
	case err != nil:
		return &exit.Error{Code: exit.Usage, Text: fmt.Sprintf("cannot ask for confirmation to work on %d hosts: %v", hosts, err), Hint: "--yes confirms"}
	case !agreed:
		return &exit.Error{Code: exit.Usage, Text: "not confirmed: nothing was run"}
	}
	return nil
}

// confirm asks the user a yes-or-no question.
func (c *app) confirm(ctx context.Context, what string) (bool, error) {
	answer, err := c.ask(ctx, what+"? [y/N] ", true)
	if err != nil {
		return false, err
	}
	answer = strings.ToLower(strings.TrimSpace(answer))
	return answer == "y" || answer == "yes", nil
}
