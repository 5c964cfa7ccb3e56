package display

import (
	"github.com/spf13/pflag"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/exit"
	"fleetssh/cmd/fleetssh/internal/flagvalue"
	"fleetssh/cmd/fleetssh/internal/results"
	"fleetssh/cmd/fleetssh/internal/termline"
)

// A CopyDisplay shows a copy. It is called by one goroutine at a time.
type CopyDisplay interface {
	Progress(fleetssh.CopyProgress) // with the index of the host in the run, not in the batch
	Finished(*results.Result)       // shows the result of a host
	Close()                         // shows the totals
}

// CopyView is the configuration of a display of a copy.
type CopyView struct {
	View
	flags   *CopyFlags
	Verb    string                                // put or get
	Batches []int                                 // the number of hosts in each batch
	Resume  bool                                  // incomplete files are continued
	SCP     bool                                  // the protocol is scp, which cannot continue files
	Measure func(stopped <-chan struct{}) []int64 // returns how many bytes each host will be sent; nil: not known locally
	Record  func(CopyDisplay) CopyDisplay         // wraps a display so that the copy is recorded; nil: no record
}

// CopyFlags are the flags for the output of a copy.
type CopyFlags struct {
	Format  string
	Verbose bool
	quiet   bool
	Look
	FullScreen bool
}

// CopyHelp is the help text of these flags.
const CopyHelp = `Output:
      --format FORMAT       stream: one line for all hosts with the same result,
                            at the end of the copy or of a batch (default)
                            json: one object per file and per host
  -v, --verbose             stream: one line per file, and one per host when it
                            is done
  -q, --quiet               only what failed
` + uiHelp + `the result of the copy is shown
` + lookHelp + `      --trace               show how each login goes, as ssh -v does: what is
                            offered, what the host says, and when
`

// Register adds the flags to a verb.
func (f *CopyFlags) Register(flags *pflag.FlagSet) {
	f.Format = "stream"
	flags.Var(formatValue{flagvalue.Choice{To: &f.Format, From: []string{"stream", "json"}}, []string{psshFormat}}, "format", "")
	flags.BoolVarP(&f.quiet, "quiet", "q", false, "")
	flags.BoolVarP(&f.Verbose, "verbose", "v", false, "")
	f.Look.Register(flags)
	flags.BoolVar(&f.FullScreen, "ui", false, "")
	RegisterTrace(flags, "")
}

// Check refuses flags that exclude each other.
func (f *CopyFlags) Check() error {
	switch {
	case f.quiet && f.Verbose:
		return exit.UsageError("", "-q and -v exclude each other")
	case f.Format != "stream" && (f.quiet || f.Verbose):
		return exit.UsageError("", "-q and -v need --format stream")
	}
	return nil
}

// Quiet reports whether only failures are to be shown.
func (f *CopyFlags) Quiet() bool { return f.quiet }

// Status starts the status line of work that only counts hosts. end must be called at its end, and may be
// called twice.
func (f *CopyFlags) Status(v View) (end func()) {
	return f.ShowProgress(v.Screen, v.Summary)
}

// Display returns the display of a copy with its decorators. An event goes to the record first, then
// to the status line, and then to the display of the format. end must be called at the end of the
// copy, whether the display was closed or not.
func (f *CopyFlags) Display(v CopyView) (d CopyDisplay, end func()) {
	v.Label, v.flags = true, f
	switch f.Format {
	case "json":
		d = newCopyJSON(v)
	case psshFormat:
		d = &psshCopy{CopyView: v}
	default:
		d = newCopyText(v)
	}
	endStatus, endView := func() {}, func() {}
	status := startCopyStatus(v, d)
	if v.FullScreen != nil {
		v.FullScreen.Amount = status.amountText
		status.CopyDisplay, endView = newCoveredCopy(v, d)
	}
	if status != nil {
		d, endStatus = status, status.end
	}
	if v.Record != nil {
		d = v.Record(d)
	}
	return d, func() {
		endStatus()
		endView()
	}
}

// newCopyText returns the display for people.
func newCopyText(v CopyView) CopyDisplay {
	stream := copyStream{CopyView: v}
	if v.flags.Verbose || len(v.Summary.Hosts) == 1 {
		return &stream
	}
	return newCopyFold(stream)
}

// copyStream shows a line for each host and each failed file, and with -v for every file.
type copyStream struct {
	CopyView
	stopped bool // a copy was ended before it was complete
}

func (d *copyStream) Progress(p fleetssh.CopyProgress) {
	if text := results.FailedText(p); text != "" {
		d.failure(d.Summary.Hosts[p.Index].Label, text)
		return
	}
	if !d.flags.Verbose || !p.Ended || p.Err != nil {
		return
	}
	d.out(d.Summary.Hosts[p.Index].Label, copiedFile(p))
}

// copiedFile returns a line about a file that was copied.
func copiedFile(p fleetssh.CopyProgress) string {
	text := termline.Visible(cutPath(p.Path)) + ": "
	if p.Skipped {
		return text + "already there"
	}
	return text + flagvalue.SizeText(p.Total)
}

// failure shows why a file was not copied to or from the hosts of a label.
func (d *copyStream) failure(label, text string) {
	d.Screen.Err(d.Screen.PaintErr(termline.Failure, label)+": ", text)
}

func (d *copyStream) out(label, text string) {
	d.Screen.Out(d.Screen.Paint(termline.Label, label)+": ", text)
}

// resultText returns what was copied to or from a host. It is empty if the failures say all.
func resultText(r *results.Result) string {
	if r.Copied == nil {
		return ""
	}
	text := r.CopiedText()
	if text == "" && r.OK {
		return "nothing to copy"
	}
	return text
}

func (d *copyStream) Finished(r *results.Result) {
	d.stopped = d.stopped || r.Unfinished()
	if text := resultText(r); text != "" && !d.flags.quiet {
		d.out(d.Summary.Hosts[r.Index].Label, text+" in "+results.ShortDuration(r.Timing.Run))
	}
}

func (d *copyStream) Close() {
	if len(d.Summary.Hosts) > 1 && !d.flags.quiet {
		d.Screen.Out("", d.Summary.CopyTotal())
	}
	d.Summary.ShowFailures(d.Screen)
	switch {
	case !d.stopped || d.SCP:
	case d.Resume:
		d.Screen.Message("hint: run the same command again to continue")
	default:
		d.Screen.Message("hint: run it again with --resume to continue")
	}
}
