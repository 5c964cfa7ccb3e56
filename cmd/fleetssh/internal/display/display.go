// Package display shows what happens on hosts: lines as they arrive, folded output, JSON, output files
// and a status line; copies; banners, warnings and notices.
package display

import (
	"fmt"
	"os"

	"github.com/spf13/pflag"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/exit"
	"fleetssh/cmd/fleetssh/internal/flagvalue"
	"fleetssh/cmd/fleetssh/internal/fullscreen"
	"fleetssh/cmd/fleetssh/internal/results"
	"fleetssh/cmd/fleetssh/internal/termline"
)

// A Display shows what happens on the hosts. It is called by one goroutine.
type Display interface {
	Show(fleetssh.Event)
	// Finished shows the result of a host. Show is not called for that event.
	Finished(*results.Result)
	Close() // shows the totals
}

// View is the configuration of a display.
type View struct {
	Screen  *termline.Screen
	Summary *results.Summary
	Command string // as the user gave it
	Label   bool   // lines begin with the name of their host
	diff    bool   // with fold: show how outputs differ from the most common one
	late    bool   // with fold: show all groups at the end

	FullScreen *fullscreen.View // for --ui; nil: not asked for

	Record func(Display) Display         // wraps a display so that the run is recorded; nil: no record
	Block  func(number int, hosts []int) // records a block of folded output, numbered from 1; nil: no record
}

// formats are the values of --format.
var formats = map[string]func(View) Display{
	"stream": NewStream,
	"fold":   newFold,
	"json":   NewJSON,

	psshFormat: newPsshLines, psshPrint: newPsshPrint, psshInline: newPsshInline, psshInlineStdout: newPsshInlineStdout,
}

// Flags are the flags for the output of a run.
type Flags struct {
	Format         string
	fold, Diff     bool
	noLabel, quiet bool
	outdir, errdir string
	FullScreen     bool
	Look
}

// Help is the help text of these flags.
const Help = `Output:
      --format FORMAT       stream: each line as it comes, after its host
                            (default)
                            fold: identical output once, below the set of its
                            hosts, as soon as the group is complete
                            json: one object per line
  -b, --fold                the same as --format fold
      --diff                fold, and how the others differ from the most common
  -N, --no-label            stream, fold: lines without their hosts
  -q, --quiet               no output of the hosts, only which of them failed
      --outdir DIR          write the standard output of each host also to a file
                            of its own; existing files are overwritten
      --errdir DIR          the same for standard error
` + uiHelp + `the failures are shown, and all groups with -b
` + LookHelp

// Register adds the flags to a verb.
func (f *Flags) Register(flags *pflag.FlagSet) {
	f.Format = "stream"
	flags.Var(formatValue{flagvalue.Choice{To: &f.Format, From: []string{"stream", "fold", "json"}}, []string{psshFormat, psshPrint, psshInline, psshInlineStdout}}, "format", "")
	flags.BoolVarP(&f.fold, "fold", "b", false, "")
	flags.BoolVar(&f.Diff, "diff", false, "")
	flags.BoolVarP(&f.noLabel, "no-label", "N", false, "")
	flags.BoolVarP(&f.quiet, "quiet", "q", false, "")
	flags.StringVar(&f.outdir, "outdir", "", "")
	flags.StringVar(&f.errdir, "errdir", "", "")
	f.Look.Register(flags)
	RegisterTrace(flags, "v")
	flags.BoolVar(&f.FullScreen, "ui", false, "")
}

// RegisterForShell adds the flags that apply to fleetssh shell, which writes no output files and has
// no status line.
func (f *Flags) RegisterForShell(flags *pflag.FlagSet) {
	f.Format, f.progress = "stream", "auto"
	flags.Var(flagvalue.Choice{To: &f.Format, From: []string{"stream", "fold"}}, "format", "")
	flags.BoolVarP(&f.fold, "fold", "b", false, "")
	flags.BoolVar(&f.Diff, "diff", false, "")
	flags.BoolVarP(&f.noLabel, "no-label", "N", false, "")
	f.registerColor(flags)
	RegisterTrace(flags, "v")
}

// Check refuses flags that exclude each other, and decides on the format.
func (f *Flags) Check() error {
	if f.fold || f.Diff {
		if f.Format == "json" {
			return exit.UsageError("", "--format json cannot be combined with -b or --diff")
		}
		f.Format = "fold"
	}
	switch {
	case f.noLabel && f.Format == "json":
		return exit.UsageError("", "--no-label needs --format stream or fold")
	case f.quiet && f.Format != "stream":
		return exit.UsageError("", "--quiet cannot be combined with --format %s, -b or --diff", f.Format)
	}
	return nil
}

// NonDefault reports whether a flag asks for anything but lines as they arrive.
func (f *Flags) NonDefault() bool {
	return f.Format != "stream" || f.fold || f.Diff || f.quiet || f.progress == "always" || f.progress == "plain" || f.outdir != "" || f.errdir != ""
}

// Prepare creates the directories for output files.
func (f *Flags) Prepare() error {
	for _, dir := range []string{f.outdir, f.errdir} {
		if dir == "" {
			continue
		}
		if err := os.MkdirAll(dir, 0o777); err != nil {
			return fmt.Errorf("directory for output: %w", err)
		}
	}
	return nil
}

// Display returns the display of a run with its decorators. An event goes to the record first, then
// to the output files, and then to the display of the format. end must be
// called at the end of the run, whether the display was closed or not.
func (f *Flags) Display(v View) (d Display, end func()) {
	v.Label, v.diff, v.late = !f.noLabel, f.Diff, v.FullScreen != nil
	d = formats[f.Format](v)
	if f.quiet || v.FullScreen != nil && f.Format == "stream" {
		d = NewQuiet(v)
	}
	endStatus, endView := func() {}, func() {}
	if v.FullScreen != nil {
		d, endView = newCovered(v, d)
	}
	if f.outdir != "" || f.errdir != "" {
		d = newFiles(v, d, f.outdir, f.errdir)
	}
	if line := startStatus(v.Screen, f.progress, hostsStatus(v.Summary)); line != nil {
		d, endStatus = &withStatus{d, line}, line.end
	}
	if v.Record != nil {
		d = v.Record(d)
	}
	return d, func() {
		endStatus()
		endView()
	}
}
