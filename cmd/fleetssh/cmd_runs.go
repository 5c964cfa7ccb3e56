package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/display"
	"fleetssh/cmd/fleetssh/internal/exit"
	"fleetssh/cmd/fleetssh/internal/flagvalue"
	"fleetssh/cmd/fleetssh/internal/help"
	"fleetssh/cmd/fleetssh/internal/journal"
	"fleetssh/cmd/fleetssh/internal/record"
	"fleetssh/cmd/fleetssh/internal/results"
	"fleetssh/cmd/fleetssh/internal/termline"
	"fleetssh/internal/shellquote"
)

const runsHelp = `Show earlier runs and how they ended. No host is contacted.

  fleetssh runs                             the latest runs
  fleetssh runs show last                   how the last run ended, and where
  fleetssh runs show last-1 --output        the output of the run before it
  fleetssh runs diff last-1 last            what has changed from one to the other
  fleetssh run -w @last:failed -- uptime    hosts of a run as a set of hosts
  fleetssh rerun last --failed              the same command again; see its help

usage: fleetssh runs [options]
       fleetssh runs show [options] RUN
       fleetssh runs diff RUN RUN

RUN is a name in the list, or the beginning of the name or of its last six
letters; last; last-1 or last~1 for the run before that, and so on. @RUN:CLASS is
a set of hosts, wherever one is accepted; CLASS is all, ok, failed (all that are
not ok), unreachable, timed_out, skipped, cancelled, lost, unknown, exited,
signaled or not_started; exit=3, slow>30s, or block=2: of the output as -b shows
it. Blocks have numbers on a terminal and in runs show -b.

runs:
      --format FORMAT       text: a table (default)
                            json: one object per line
  -n, --number N            only the latest N (20)

runs show:
  -v, --verbose             one line per host
      --output              the output of the hosts
  -b, --fold                the output, folded into numbered blocks
      --report FILE.html    write a page about the run
      --format FORMAT       text (default); json: the objects of run --format json

runs diff shows the hosts whose outcome or output has changed.

A run that was killed is shown as far as it is known: hosts that had started are
lost, and may have run; the others were skipped.

Records are kept in $XDG_STATE_HOME/fleetssh/runs (~/.local/state/fleetssh/runs),
and only you can read them: the command line, the outcomes, and up to 1 MiB of
output per host and 64 MiB per run. Passwords are not recorded unless they are
part of the command line; option values that may be secrets are recorded as ***.
Up to 200 runs and 512 MiB are kept; the oldest are removed first. With
--no-record, run, put and get keep no record.

`

// runsOptions are the flags of runs.
type runsOptions struct {
	format string
	number int
}

func (o *runsOptions) register(flags *pflag.FlagSet) {
	registerTextFormat(flags, &o.format)
	o.number = 20
	flags.VarP(flagvalue.Number{To: &o.number, Min: 1, Max: 1_000_000}, "number", "n", "")
}

// registerTextFormat adds --format for verbs that show text or objects.
func registerTextFormat(flags *pflag.FlagSet, to *string) {
	*to = "text"
	flags.Var(flagvalue.Choice{To: to, From: []string{"text", "json"}}, "format", "")
}

func newRuns(c *app) *cobra.Command {
	o := new(runsOptions)
	cmd := &cobra.Command{
		Use:  "runs",
		Long: runsHelp,
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return exit.UsageError("fleetssh runs show "+shellquote.Quote(args[0]), "runs takes no arguments; runs show shows a run")
			}
			return o.run(c)
		},
	}
	o.register(cmd.Flags())
	cmd.AddCommand(newRunsShow(c), newRunsDiff(c))
	return cmd
}

// jsonRun is a run in the list.
type jsonRun struct {
	Type      string        `json:"type"`
	Time      time.Time     `json:"time"`
	Run       string        `json:"run"`
	Command   string        `json:"command"`
	Hosts     int           `json:"hosts"`
	OK        int           `json:"ok"`
	Failed    int           `json:"failed"`
	Unbegun   int           `json:"never_begun,omitempty"`
	ElapsedMS float64       `json:"elapsed_ms"`
	State     journal.State `json:"state"`
	Partial   bool          `json:"partial,omitempty"`
	ExitCode  *int          `json:"exit_code"`
}

func newJSONRun(info *journal.Info) jsonRun {
	j := jsonRun{
		Type: "run", Time: info.Time, Run: info.ID, Command: info.Command, Hosts: info.Count, OK: info.OK, Failed: info.Failed, Unbegun: info.Skipped,
		ElapsedMS: results.Milliseconds(info.Elapsed), State: info.State, Partial: info.Partial,
	}
	if info.State == journal.Ended {
		j.ExitCode = &info.ExitCode
	}
	return j
}

// run shows the list, the latest run last, where a terminal user looks first.
func (o *runsOptions) run(c *app) error {
	dir, err := journal.Dir()
	if err != nil {
		return err
	}
	runs, err := journal.List(dir)
	if err != nil {
		return fmt.Errorf("record of runs: %w", err)
	}
	runs = runs[max(0, len(runs)-o.number):]
	if o.format == "json" {
		for i := range runs {
			display.PutJSON(c.screen, newJSONRun(&runs[i]))
		}
		return nil
	}
	if len(runs) == 0 {
		c.screen.Message("fleetssh: no run has been recorded yet")
		return nil
	}
	title := fmt.Sprintf("%-31s %-19s %7s %7s %7s %7s %8s  %s", "RUN", "WHEN", "HOSTS", "OK", "FAILED", "SKIPPED", "TIME", "COMMAND")
	c.screen.Out(c.screen.Paint(termline.Heading, title), "")
	for i := range runs {
		r := &runs[i]
		text := r.OneLine()
		if r.State != journal.Ended {
			text = "(" + string(r.State) + ") " + text
		}
		failed := termline.Plain
		if r.Failed > 0 {
			failed = termline.Failure
		}
		prefix := fmt.Sprintf("%-31s %-19s %7d %7d ", termline.Visible(r.ID), r.Time.Local().Format(time.DateTime), r.Count, r.OK) + c.screen.Paint(failed, fmt.Sprintf("%7d", r.Failed))
		c.screen.Out(prefix, fmt.Sprintf(" %7d %8s  %s", r.Skipped, results.ShortDuration(r.Elapsed), text))
	}
	return nil
}

// runsShowOptions are the flags of runs show.
type runsShowOptions struct {
	verbose, output, fold bool
	report, format        string
}

func (o *runsShowOptions) register(flags *pflag.FlagSet) {
	flags.BoolVarP(&o.verbose, "verbose", "v", false, "")
	flags.BoolVar(&o.output, "output", false, "")
	flags.BoolVarP(&o.fold, "fold", "b", false, "")
	flags.StringVar(&o.report, "report", "", "")
	registerTextFormat(flags, &o.format)
}

func newRunsShow(c *app) *cobra.Command {
	o := new(runsShowOptions)
	cmd := &cobra.Command{
		Use:   "show",
		Short: "Show how a run ended, and where",
		Long:  runsHelp,

		ValidArgsFunction: help.CompleteRuns(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return exit.UsageError("fleetssh runs show last", "runs show takes one run")
			}
			if (o.verbose || o.fold) && o.format == "json" {
				return exit.UsageError("", "--verbose and -b need --format text")
			}
			if o.fold && o.output {
				return exit.UsageError("", "-b and --output exclude each other")
			}
			return o.run(c, args[0])
		},
	}
	o.register(cmd.Flags())
	return cmd
}

func (o *runsShowOptions) run(c *app, name string) error {
	if err := record.CheckReport(o.report); err != nil {
		return err
	}
	run, err := record.Open(name)
	if err != nil {
		return err
	}
	t := record.Summary(run)
	if o.format == "json" {
		err = o.showJSON(c, run, t)
	} else {
		err = o.show(c.screen, run, t)
	}
	if err == nil && o.report != "" {
		err = record.WriteReport(o.report, run)
	}
	return err
}

// show shows a run as text.
func (o *runsShowOptions) show(screen *termline.Screen, run *journal.Run, t *results.Summary) error {
	out := func(name, text string) { screen.Out(fmt.Sprintf("%-9s", name), text) }
	out("run", run.ID)
	out("began", run.Time.Local().Format(time.DateTime)+", took "+results.ShortDuration(run.Elapsed))
	out("command", run.Command)
	if len(run.Args) > 0 {
		out("options", shellquote.Join(run.Args...))
	}
	for _, note := range record.Notes(run) {
		out("note", note)
	}
	counts := fmt.Sprintf("%d: %d ok, %d failed", run.Count, run.OK, run.Failed)
	if run.Skipped > 0 {
		counts += fmt.Sprintf(", %d skipped", run.Skipped)
	}
	out("hosts", counts)
	for _, class := range []string{"ok", journal.Running, journal.Waiting} {
		if hosts, err := run.Select(class); err == nil && len(hosts) > 0 {
			out(class, t.Fold(record.Indexes(hosts)))
		}
	}
	record.ShowBatches(run, t, out)
	t.ShowFailures(screen.OutOnly())
	if o.verbose {
		for i := range t.Results {
			r := &t.Results[i]
			title, _ := r.Title()
			text := fmt.Sprintf("%s, connect %s, run %s", title, results.ColumnTime(r.Timing.Connect), results.ColumnTime(r.Timing.Run))
			if r.Problem.Reason != "" {
				text += ": " + r.Problem.Reason
			}
			screen.Out(t.Hosts[r.Index].Label+": ", text)
		}
	}
	if o.fold {
		return record.ShowBlocks(screen, run, t)
	}
	if !o.output {
		return nil
	}
	for line, err := range record.Lines(run) {
		if err != nil {
			return fmt.Errorf("record of the output: %w", err)
		}
		show := screen.Out
		if line.Stream == "stderr" {
			show = screen.Err
		}
		show(t.Hosts[line.Index].Label+": ", line.Text)
	}
	return nil
}

// showJSON shows a run as the objects of run --format json.
func (o *runsShowOptions) showJSON(c *app, run *journal.Run, t *results.Summary) error {
	d := display.NewJSON(display.View{Screen: c.screen, Summary: t, Command: run.Command})
	if o.output {
		for line, err := range record.Lines(run) {
			if err != nil {
				return fmt.Errorf("record of the output: %w", err)
			}
			kind := fleetssh.StdoutLine
			if line.Stream == "stderr" {
				kind = fleetssh.StderrLine
			}
			d.Show(fleetssh.Event{Kind: kind, Index: line.Index, Text: line.Text, Partial: line.Partial, Time: run.Time})
		}
	}
	for i := range t.Results {
		d.Finished(&t.Results[i])
	}
	record.PutBatches(c.screen, run, t)
	s := t.JSONSummary()
	s.Time, s.ElapsedMS = run.Time.Add(run.Elapsed), results.Milliseconds(run.Elapsed)
	display.PutJSON(c.screen, s)
	return nil
}

func newRunsDiff(c *app) *cobra.Command {
	return &cobra.Command{
		Use:   "diff",
		Short: "Show what has changed from one run to another",
		Long:  runsHelp,

		ValidArgsFunction: help.CompleteRuns(2),
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) != 2 {
				return exit.UsageError("fleetssh runs diff last-1 last", "runs diff takes two runs")
			}
			var runs [2]*journal.Run
			for i, name := range args {
				run, err := record.Open(name)
				if err != nil {
					return err
				}
				runs[i] = run
			}
			return record.ShowDiff(c.screen, runs[0], runs[1])
		},
	}
}
