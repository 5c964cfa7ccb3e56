// Package record records runs and copies while they are shown, and derives results, reports, hosts and
// the options that repeat a run from the records.
package record

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/spf13/pflag"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/atomicfile"
	"fleetssh/cmd/fleetssh/internal/display"
	"fleetssh/cmd/fleetssh/internal/exit"
	"fleetssh/cmd/fleetssh/internal/flagvalue"
	"fleetssh/cmd/fleetssh/internal/journal"
	"fleetssh/cmd/fleetssh/internal/redact"
	page "fleetssh/cmd/fleetssh/internal/report"
	"fleetssh/cmd/fleetssh/internal/results"
	"fleetssh/cmd/fleetssh/internal/selection"
	"fleetssh/cmd/fleetssh/internal/settings"
	"fleetssh/cmd/fleetssh/internal/termline"
)

// Flags are the flags for recording, and what is recorded besides the results.
type Flags struct {
	NoRecord bool
	Report   string // the file for the report

	login string   // the value of --login, which is not recorded for each host
	port  string   // the value of --port
	Args  []string // the options that repeat the run

	settings journal.Settings // where the hidden values of Args come from

	Simulated bool // the hosts end with the program: nothing is recorded
	JSON      bool // batches and gates are shown as objects

	Verb  string   // of a copy: put or get
	Words []string // of a copy: its paths, local ones absolute
}

// Help is the help text of these flags.
const Help = `Recording and reports:
      --report FILE.html    write a page about the run: outcomes, causes, output
                            and timing of the hosts
      --no-record           keep no record of the run; see fleetssh runs
`

// Register adds the flags to a verb.
func (f *Flags) Register(flags *pflag.FlagSet) {
	flags.StringVar(&f.Report, "report", "", "")
	flags.BoolVar(&f.NoRecord, "no-record", false, "")
}

// Check refuses a report that could not be written at the end of the run.
func (f *Flags) Check() error { return CheckReport(f.Report) }

// CheckReport refuses the name of a report that could not be written.
func CheckReport(name string) error {
	if name == "" {
		return nil
	}
	if name == "-" {
		return exit.UsageError("", "--report -: standard output carries the output of hosts; name a file")
	}
	if info, err := os.Stat(filepath.Dir(name)); err != nil || !info.IsDir() {
		return exit.UsageError("", "--report %s: no such directory", name)
	}
	return nil
}

// notRepeated are the flags that do not apply when a run is repeated. fileFlags are the flags that name
// files, which are recorded with absolute paths.
var (
	notRepeated = []string{"hosts", "exclude", "group", "all", "where", "limit", "pick", "dry-run", "yes", "report", "no-record", "config", "help", "ui"}
	fileFlags   = []string{"identity", "cert", "password-file", "sudo-password-file", "known-hosts", "ssh-config", "keytab", "stdin", "script", "args-file", "inventory", "hostfile", "outdir", "errdir"}
)

// Capture stores the flags that repeat the run, whether they were given or set by the user's settings.
// It hides values that may be secrets.
func (f *Flags) Capture(flags *pflag.FlagSet, s *settings.Defaults) {
	f.Args, f.settings = nil, journal.Settings{}
	flags.VisitAll(func(flag *pflag.Flag) {
		set := s.Origin(flag.Name) != ""
		if !flag.Changed && !set {
			return
		}
		switch flag.Name {
		case "login":
			f.login = flag.Value.String()
		case "port":
			f.port = flag.Value.String()
		}
		if slices.Contains(notRepeated, flag.Name) {
			return
		}
		before := len(f.Args)
		for _, value := range flagvalue.Values(flag) {
			f.Args = append(f.Args, givenFlag(flag, value)...)
		}
		if set && slices.ContainsFunc(f.Args[before:], hiddenArg) {
			f.settings.File, _ = s.Path()
			f.settings.File = absolutePath(f.settings.File)
			f.settings.Flags = append(f.settings.Flags, flag.Name)
		}
	})
}

// givenFlag returns a flag as it is recorded. It returns nothing if the flag cannot be repeated.
func givenFlag(flag *pflag.Flag, value string) []string {
	switch {
	case flag.Name == "hostfile" && value == "-":
		return nil // standard input cannot be read again
	case slices.Contains(fileFlags, flag.Name):
		value = absolutePath(value)
	case flag.NoOptDefVal == value: // --sudo
		return []string{"--" + flag.Name}
	}
	return []string{"--" + flag.Name + "=" + redact.Flag(flag.Name, value)}
}

// absolutePath returns a file name that is valid in any directory.
func absolutePath(name string) string {
	if name == "-" || name == "none" || name == "" || strings.HasPrefix(name, "~") || strings.HasPrefix(name, "fd:") {
		return name
	}
	if full, err := filepath.Abs(name); err == nil {
		return full
	}
	return name
}

// Recorder records one run. If that fails, it warns once, and the run continues.
type Recorder struct {
	screen *termline.Screen
	tally  *results.Summary
	report string
	json   bool // see Flags.JSON

	writer    *journal.Writer // nil: nothing is recorded
	dir       string
	temporary bool // the record is temporary, for the report only
	warned    sync.Once
	ended     bool
}

// Start starts the record of a run.
func (f *Flags) Start(screen *termline.Screen, t *results.Summary, start journal.Start) *Recorder {
	r := &Recorder{screen: screen, tally: t, report: f.Report, json: f.JSON}
	if f.Simulated || f.NoRecord && f.Report == "" {
		return r
	}
	start.Time, start.Args, start.Settings, start.Verb, start.Words = t.Begun, f.Args, f.settings, f.Verb, f.Words
	for i := range t.Hosts {
		start.Hosts = append(start.Hosts, f.host(&t.Hosts[i]))
	}
	err := r.create(f.NoRecord, start)
	if err != nil && !f.NoRecord {
		r.warn(err)
		if f.Report != "" {
			err = r.create(true, start)
		}
	}
	if err != nil && f.Report != "" {
		r.warn(err)
	}
	return r
}

// create creates the record: in the directory of records, or in a temporary one.
func (r *Recorder) create(scrap bool, start journal.Start) (err error) {
	if r.temporary = scrap; scrap {
		r.dir, err = os.MkdirTemp("", "fleetssh-report-")
	} else {
		r.dir, err = journal.Dir()
	}
	if err == nil {
		r.writer, err = journal.Create(r.dir, start)
	}
	return err
}

// host returns a host as it is recorded: with user and port if they differ from the flags.
func (f *Flags) host(e *selection.Host) journal.Host {
	h := journal.Host{Name: e.Name}
	if e.Config.User != f.login {
		h.User = e.Config.User
	}
	if fmt.Sprint(e.Config.Port) != f.port {
		h.Port = e.Config.Port
	}
	if e.Label != e.Name {
		h.Label = e.Label
	}
	return h
}

func (r *Recorder) warn(err error) {
	if err == nil {
		return
	}
	r.warned.Do(func() {
		r.screen.Message("fleetssh: warning: the run continues, but is not fully recorded: " + err.Error())
	})
}

// HostStarted records that the command is about to be sent to host number i. It is safe for concurrent
// use.
func (r *Recorder) HostStarted(i int) {
	if r.writer != nil {
		r.warn(r.writer.HostStarted(i))
	}
}

// ID returns the name of the recorded run. It is empty if nothing is recorded.
func (r *Recorder) ID() string {
	if r.writer == nil {
		return ""
	}
	return r.writer.ID()
}

// Wrap returns a display that records what it shows.
func (r *Recorder) Wrap(d display.Display) display.Display {
	if r.writer == nil {
		return d
	}
	return &recordDisplay{Display: d, recorder: r}
}

type recordDisplay struct {
	display.Display
	recorder *Recorder
}

func (d *recordDisplay) Show(ev fleetssh.Event) {
	r := d.recorder
	if ev.Err == nil || !display.OutputLost(ev.Err) {
		switch ev.Kind {
		case fleetssh.StdoutLine, fleetssh.StderrLine:
			r.warn(r.writer.Output(ev.Index, ev.Kind.String(), ev.Text, ev.Partial))
		}
	}
	d.Display.Show(ev)
}

func (d *recordDisplay) Finished(result *results.Result) {
	d.recorder.warn(d.recorder.writer.HostFinished(result.Index, journalResult(result)))
	d.Display.Finished(result)
}

// Blocks returns what records the blocks of folded output, nil if the run is not recorded.
func (r *Recorder) Blocks() func(number int, hosts []int) {
	if r.writer == nil || r.temporary {
		return nil
	}
	return r.block
}

// block records which hosts share a block of folded output.
func (r *Recorder) block(number int, hosts []int) { r.warn(r.writer.Block(number, hosts)) }

// SaveReport writes a report about the run to a file that does not exist yet.
func (r *Recorder) SaveReport(name string) error {
	if err := CheckReport(name); err != nil {
		return err
	}
	if _, err := os.Lstat(name); err == nil {
		return fmt.Errorf("report %s: the file exists already", name)
	}
	run, err := journal.Open(r.dir, r.writer.ID())
	if err != nil {
		return fmt.Errorf("report %s: %w", name, err)
	}
	return WriteReport(name, run)
}

// End closes the record when all hosts have ended. Further calls do nothing.
func (r *Recorder) End() { r.closeWriter() }

// closeWriter closes the record. Further calls do nothing.
func (r *Recorder) closeWriter() {
	if r.writer == nil || r.ended {
		return
	}
	r.ended = true
	s := r.tally.JSONSummary()
	r.warn(r.writer.Close(journal.Summary{
		Hosts: s.Hosts, Outcomes: s.Outcomes, OK: s.OK, Failed: s.Failed, ElapsedMS: s.ElapsedMS,
		ExitCode: r.tally.ExitCode(), Interrupted: r.tally.Interrupted,
	}))
}

// Finish closes the record and writes the report. It returns the error that ends the program.
func (r *Recorder) Finish() error {
	r.closeWriter()
	ended := r.tally.Err()
	err := r.writeReport()
	if ended == nil || err == nil {
		return cmp.Or(ended, err)
	}
	r.screen.Message("fleetssh: error: " + err.Error())
	return ended
}

// Close closes the record. It may be called after Finish, and must be called if Finish was not.
func (r *Recorder) Close() {
	r.closeWriter()
	if r.temporary && r.dir != "" {
		_ = os.RemoveAll(r.dir) // a failure leaves files in the system's temporary directory
	}
}

func (r *Recorder) writeReport() error {
	switch {
	case r.report == "":
		return nil
	case r.writer == nil:
		return fmt.Errorf("report %s: there is no record of the run", r.report)
	}
	run, err := journal.Open(r.dir, r.writer.ID())
	if err != nil {
		return fmt.Errorf("report %s: %w", r.report, err)
	}
	return writeReport(r.report, run, !r.temporary)
}

// WriteReport writes the report about a recorded run.
func WriteReport(name string, run *journal.Run) error { return writeReport(name, run, true) }

func writeReport(name string, run *journal.Run, kept bool) error {
	data, err := reportOf(run, kept)
	if err != nil {
		return fmt.Errorf("report %s: %w", name, err)
	}
	if err := atomicfile.Write(name, atomicfile.OwnerOnly, func(w io.Writer) error { return page.Write(w, data) }); err != nil {
		return fmt.Errorf("report %s: %s", name, exit.Reason(err))
	}
	return nil
}

// journalResult returns a result as it is recorded.
func journalResult(r *results.Result) journal.Result {
	o := r.Outcome
	out := journal.Result{
		Outcome: o.Kind.String(), ExitCode: o.ExitCode, Signal: o.Signal, Phase: string(o.Phase), Stopped: o.Stopped, Attempts: r.Timing.Attempts,
		ConnectMS: results.Milliseconds(results.ConnectTime(r.Timing)), RunMS: results.Milliseconds(r.Timing.Run), Cut: r.Truncated,
	}
	if p := r.Problem; p.Kind != "" || p.Hint != "" || r.Message != "" {
		out.Error = &journal.Failure{Kind: p.Kind, Phase: p.Phase, Message: r.Message, Reason: p.Reason, Detail: p.Detail, Hint: p.Hint}
	}
	return out
}

// WrapCopy returns a display of a copy that records what it shows.
func (r *Recorder) WrapCopy(d display.CopyDisplay) display.CopyDisplay {
	if r.writer == nil {
		return d
	}
	return &copyRecord{CopyDisplay: d, recorder: r}
}

type copyRecord struct {
	display.CopyDisplay
	recorder *Recorder
}

func (d *copyRecord) Progress(p fleetssh.CopyProgress) {
	if text := results.FailedText(p); text != "" {
		d.recorder.warn(d.recorder.writer.Output(p.Index, fleetssh.StderrLine.String(), text, false))
	}
	d.CopyDisplay.Progress(p)
}

func (d *copyRecord) Finished(r *results.Result) {
	if r.Copied != nil {
		if text := r.CopiedText(); text != "" {
			d.recorder.warn(d.recorder.writer.Output(r.Index, fleetssh.StdoutLine.String(), text, false))
		}
	}
	d.recorder.warn(d.recorder.writer.HostFinished(r.Index, journalResult(r)))
	d.CopyDisplay.Finished(r)
}
