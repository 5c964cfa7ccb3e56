package display

import (
	"fmt"
	"time"

	"github.com/spf13/pflag"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/exit"
	"fleetssh/cmd/fleetssh/internal/flagvalue"
	"fleetssh/cmd/fleetssh/internal/results"
	"fleetssh/cmd/fleetssh/internal/termline"
)

// WaitFlags are the flags for the output of verbs that wait for hosts.
type WaitFlags struct {
	Format         string
	verbose, quiet bool
	progress       string
	color          string
}

// WaitHelp is the help text of these flags.
const WaitHelp = `Output:
      --format FORMAT       text: one line for all hosts with the same result, at
                            the end (default); json: one object per host
  -v, --verbose             text: a line for each host when it is done
  -q, --quiet               only which hosts failed
      --progress WHEN       a status line on standard error: auto (on a terminal),
                            always, never, or plain: a line every 10s, later less
                            often, for logs
      --color WHEN          auto (on a terminal; NO_COLOR turns colours off,
                            CLICOLOR_FORCE on), always, never
`

// Register adds the flags to a verb.
func (f *WaitFlags) Register(flags *pflag.FlagSet) {
	f.Format, f.progress, f.color = "text", "auto", "auto"
	flags.Var(flagvalue.Choice{To: &f.Format, From: []string{"text", "json"}}, "format", "")
	flags.BoolVarP(&f.verbose, "verbose", "v", false, "")
	flags.BoolVarP(&f.quiet, "quiet", "q", false, "")
	flags.Var(flagvalue.Choice{To: &f.progress, From: progressWords}, "progress", "")
	flags.Var(flagvalue.Choice{To: &f.color, From: whenWords}, "color", "")
}

// Check refuses flags that exclude each other.
func (f *WaitFlags) Check() error {
	if f.quiet && f.verbose || f.Format == "json" && (f.quiet || f.verbose) {
		return exit.UsageError("", "-q, -v and --format json exclude each other")
	}
	return nil
}

// Display returns the display. end must be called at the end, whether the display was closed or not.
func (f *WaitFlags) Display(v View) (d Display, end func()) {
	d, end = &waitText{View: v, flags: f}, func() {}
	if f.Format == "json" {
		d = &waitJSON{NewJSON(v).(*jsonDisplay)}
	}
	if line := startStatus(v.Screen, f.progress, hostsStatus(v.Summary)); line != nil {
		d, end = &withStatus{d, line}, line.end
	}
	if v.Record != nil {
		d = v.Record(d)
	}
	return d, end
}

// waitText shows lines for people.
type waitText struct {
	View
	flags *WaitFlags
	hosts []int         // that are as they should be
	last  time.Duration // how long the last of them took
	ended string
}

// Show shows nothing: no output of hosts is shown.
func (d *waitText) Show(fleetssh.Event) {}

func (d *waitText) Finished(r *results.Result) {
	if r.Waited == nil || !r.OK || d.flags.quiet {
		return
	}
	if d.flags.verbose {
		text := fmt.Sprintf("%s after %s", r.Waited.Ended, results.ShortDuration(r.Waited.For))
		if n := r.Timing.Attempts; n > 1 {
			text += fmt.Sprintf(" (%d logins tried)", n)
		}
		d.Screen.Out(d.Screen.Paint(termline.Label, d.Summary.Hosts[r.Index].Label)+": ", text)
		return
	}
	d.hosts = append(d.hosts, r.Index)
	d.ended, d.last = r.Waited.Ended, max(d.last, r.Waited.For)
}

func (d *waitText) Close() {
	if len(d.hosts) > 0 {
		text := " after "
		if len(d.hosts) > 1 {
			text = " within "
		}
		d.Screen.Out(d.Screen.Paint(termline.Label, d.Summary.Counted(d.hosts))+": ", d.ended+text+results.ShortDuration(d.last))
	}
	d.Summary.ShowFailures(d.Screen)
}

// waitJSON shows an object per host.
type waitJSON struct{ *jsonDisplay }

type jsonWaited struct {
	results.JSONResult
	WaitedMS float64 `json:"waited_ms"`
}

func (d *waitJSON) Finished(r *results.Result) {
	o := jsonWaited{JSONResult: d.Summary.JSONResult(r)}
	if r.Waited != nil {
		o.WaitedMS = results.Milliseconds(r.Waited.For)
	}
	d.put(o)
}
