package main

import (
	"fmt"
	"os"

	"github.com/spf13/pflag"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/exit"
	"fleetssh/cmd/fleetssh/internal/flagvalue"
	"fleetssh/cmd/fleetssh/internal/results"
	"fleetssh/cmd/fleetssh/internal/termline"
)

// A display shows what happens on the hosts. One goroutine calls it.
type display interface {
	show(fleetssh.Event)
	// finished shows how a host ended; show is not called for that.
	finished(*results.Result)
	close() // shows the totals
}

// view is what displays are made from.
type view struct {
	screen  *termline.Screen
	tally   *results.Tally
	command string // as the user gave it
	label   bool   // lines stand behind the name of their host
	diff    bool   // fold: show how outputs differ from the most common one
}

// formats are the values of --format.
var formats = map[string]func(view) display{
	"stream": newStream,
	"fold":   newFold,
	"json":   newJSON,

	psshFormat: newPsshLines, psshPrint: newPsshPrint, psshInline: newPsshInline, psshInlineStdout: newPsshInlineStdout,
}

// showFlags say how what happens is shown.
type showFlags struct {
	format         string
	fold, diff     bool
	noLabel, quiet bool
	outdir, errdir string
	progress       string
	color          string
}

const showFlagsHelp = `What is shown:
      --format FORMAT       stream: each line behind its host, as it comes
                            (default)
                            fold: what hosts wrote alike once, below the set of
                            these hosts, as soon as no other can join them
                            json: one object a line
  -b, --fold                the same as --format fold
      --diff                fold, and how the others differ from the most common
  -N, --no-label            stream, fold: lines without their hosts
  -q, --quiet               nothing of what the hosts write: only who failed
      --outdir DIR          write what each host writes to standard output into a
                            file of its own as well, which is made anew
      --errdir DIR          the same for standard error
      --progress WHEN       a line that says how far it is, on standard error:
                            auto (on a terminal), always, never; Enter or
                            Ctrl-\ says who is outstanding, and what is done there
      --color WHEN          auto (on a terminal, unless NO_COLOR is set), always,
                            never
`

func (f *showFlags) register(flags *pflag.FlagSet) {
	f.format = "stream"
	flags.Var(formatValue{flagvalue.Choice{To: &f.format, From: []string{"stream", "fold", "json"}}, []string{psshFormat, psshPrint, psshInline, psshInlineStdout}}, "format", "")
	flags.BoolVarP(&f.fold, "fold", "b", false, "")
	flags.BoolVar(&f.diff, "diff", false, "")
	flags.BoolVarP(&f.noLabel, "no-label", "N", false, "")
	flags.BoolVarP(&f.quiet, "quiet", "q", false, "")
	flags.StringVar(&f.outdir, "outdir", "", "")
	flags.StringVar(&f.errdir, "errdir", "", "")
	f.progress = "auto"
	flags.Var(flagvalue.Choice{To: &f.progress, From: whenWords}, "progress", "")
	f.color = "auto"
	flags.Var(flagvalue.Choice{To: &f.color, From: whenWords}, "color", "")
}

// whenWords are the values of --progress and --color.
var whenWords = []string{"auto", "always", "never"}

// check refuses what does not go together, and settles the format.
func (f *showFlags) check() error {
	if f.fold || f.diff {
		if f.format == "json" {
			return exit.UsageError("", "--format json goes neither with -b nor with --diff")
		}
		f.format = "fold"
	}
	switch {
	case f.noLabel && f.format == "json":
		return exit.UsageError("", "--no-label goes with --format stream and fold only")
	case f.quiet && f.format != "stream":
		return exit.UsageError("", "--quiet goes neither with --format %s nor with -b and --diff", f.format)
	}
	return nil
}

// prepare makes the folders for files, if they are missing.
func (f *showFlags) prepare() error {
	for _, dir := range []string{f.outdir, f.errdir} {
		if dir == "" {
			continue
		}
		if err := os.MkdirAll(dir, 0o777); err != nil {
			return fmt.Errorf("folder for output: %w", err)
		}
	}
	return nil
}

// display returns what shows a run, and what must be called in the end, whether it was
// closed or given up.
func (f *showFlags) display(v view) (d display, end func()) {
	v.screen.SetColors(map[string]termline.Colors{"always": termline.ColorsAlways, "never": termline.ColorsNever}[f.color])
	v.label, v.diff = !f.noLabel, f.diff
	d, end = formats[f.format](v), func() {}
	if f.quiet {
		d = newQuiet(v)
	}
	if f.outdir != "" || f.errdir != "" {
		d = newFiles(v, d, f.outdir, f.errdir)
	}
	if f.progress == "always" || f.progress == "auto" && v.screen.HasStatus() {
		p := newProgress(v.screen, d, v.tally)
		d, end = p, p.end
	}
	return d, end
}
