package main

import (
	"github.com/spf13/pflag"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/exit"
	"fleetssh/cmd/fleetssh/internal/flagvalue"
	"fleetssh/cmd/fleetssh/internal/results"
	"fleetssh/cmd/fleetssh/internal/termline"
)

// A copyDisplay shows a copy. One goroutine at a time calls it.
type copyDisplay interface {
	progress(fleetssh.CopyProgress) // its index is that among all hosts
	finished(*results.Result)       // shows how a host ended
	close()                         // shows the totals
}

// copyView is what displays of a copy are made from.
type copyView struct {
	view
	o    *copyOptions
	plan *copyPlan
}

// copyShowFlags say how a copy is shown.
type copyShowFlags struct {
	format         string
	quiet, verbose bool
	status         string
	color          string
}

const copyShowHelp = `What is shown:
      --format FORMAT       stream: a line for each host when it is done (default)
                            json: an object for each file and each host
  -v, --verbose             stream: a line for each file too
  -q, --quiet               only what failed
      --progress WHEN       a line that says how far it is, on standard error:
                            auto (on a terminal), always, never; Enter or
                            Ctrl-\ says who is outstanding, and what is done there
      --color WHEN          auto (on a terminal, unless NO_COLOR is set), always,
                            never
`

func (f *copyShowFlags) register(flags *pflag.FlagSet) {
	f.format = "stream"
	flags.Var(formatValue{flagvalue.Choice{To: &f.format, From: []string{"stream", "json"}}, []string{psshFormat}}, "format", "")
	flags.BoolVarP(&f.quiet, "quiet", "q", false, "")
	flags.BoolVarP(&f.verbose, "verbose", "v", false, "")
	f.status = "auto"
	flags.Var(flagvalue.Choice{To: &f.status, From: whenWords}, "progress", "")
	f.color = "auto"
	flags.Var(flagvalue.Choice{To: &f.color, From: whenWords}, "color", "")
}

// check refuses what does not go together.
func (f *copyShowFlags) check() error {
	switch {
	case f.quiet && f.verbose:
		return exit.UsageError("", "-q and -v exclude each other")
	case f.format != "stream" && (f.quiet || f.verbose):
		return exit.UsageError("", "-q and -v go with --format stream only")
	}
	return nil
}

// display returns what shows a copy, and what must be called in the end, whether it was
// closed or given up.
func (f *copyShowFlags) display(v copyView) (d copyDisplay, end func()) {
	v.screen.SetColors(map[string]termline.Colors{"always": termline.ColorsAlways, "never": termline.ColorsNever}[f.color])
	switch f.format {
	case "json":
		d = newCopyJSON(v)
	case psshFormat:
		d = &psshCopy{copyView: v}
	default:
		d = newCopyStream(v)
	}
	if f.status == "never" || f.status == "auto" && !v.screen.HasStatus() {
		return d, func() {}
	}
	s := newCopyStatus(v, d)
	return s, s.end
}

// copyStream shows a line for each host, one for each file that failed, and one for each
// other file if that is wanted.
type copyStream struct {
	copyView
	stopped bool // some host was ended on the way
}

func newCopyStream(v copyView) *copyStream { return &copyStream{copyView: v} }

func (d *copyStream) progress(p fleetssh.CopyProgress) {
	if text := results.FailedText(p); text != "" {
		d.screen.Err(d.screen.PaintErr(termline.Trouble, d.tally.Hosts[p.Index].Label)+": ", text)
		return
	}
	if !d.o.show.verbose || !p.Ended || p.Err != nil {
		return
	}
	text := termline.Visible(possiblePath(p.Path)) + ": "
	if p.Skipped {
		text += "already there"
	} else {
		text += flagvalue.SizeText(p.Total)
	}
	d.out(p.Index, text)
}

func (d *copyStream) out(host int, text string) {
	d.screen.Out(d.screen.Paint(termline.Label, d.tally.Hosts[host].Label)+": ", text)
}

func (d *copyStream) finished(r *results.Result) {
	d.stopped = d.stopped || r.Unfinished()
	if d.o.show.quiet || r.Copied == nil {
		return
	}
	if text := r.CopiedText(); text != "" || r.OK {
		if text == "" {
			text = "nothing to copy"
		}
		d.out(r.Index, text+" in "+results.ShortDuration(r.Timing.Run))
	}
}

func (d *copyStream) close() {
	d.tally.ShowFailures(d.screen)
	switch {
	case !d.stopped || d.o.protocol == "scp":
	case d.o.resume:
		d.screen.Message("hint: the same again goes on where it stopped")
	default:
		d.screen.Message("hint: the same with --resume goes on where it stopped")
	}
}
