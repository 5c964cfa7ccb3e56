package main

import (
	"cmp"
	"errors"
	"fmt"
	"iter"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/pflag"

	"fleetssh"
	"fleetssh/hostset"
	"fleetssh/internal/fold"
	"fleetssh/internal/journal"
	page "fleetssh/internal/report"
	"fleetssh/internal/termline"
)

// recordFlags say what is kept of a run.
type recordFlags struct {
	noRecord bool
	report   string // file for a page about the run

	login string   // of the flags, which hosts need not repeat
	port  string   // likewise
	given []string // the options that count when the run is repeated
}

const recordFlagsHelp = `What is kept:
      --report FILE.html    write a page about the run: outcomes, causes, what
                            hosts wrote, and how long they took
      --no-record           keep no record of the run; see fleetssh runs
`

func (f *recordFlags) register(flags *pflag.FlagSet) {
	flags.StringVar(&f.report, "report", "", "")
	flags.BoolVar(&f.noRecord, "no-record", false, "")
}

// check refuses a report that could not be written in the end.
func (f *recordFlags) check() error {
	if f.report == "" {
		return nil
	}
	if info, err := os.Stat(filepath.Dir(f.report)); err != nil || !info.IsDir() {
		return usageError("", "--report %s: there is no such folder", f.report)
	}
	return nil
}

// Flags of run that mean something else, or nothing, when the run is repeated for some of its
// hosts; and flags that name files, which are the same files from another folder.
var (
	flagsOfOneRun = []string{"hosts", "exclude", "group", "all", "limit", "pick", "dry-run", "yes", "report", "no-record"}
	flagsOfFiles  = []string{"identity", "cert", "password-file", "known-hosts", "ssh-config", "keytab", "stdin", "script", "args-file", "inventory", "hostfile", "outdir", "errdir"}
)

// hidden stands for a secret in what is kept.
const hidden = "***"

// note keeps the flags that were given, as rerun needs them, without secrets.
func (f *recordFlags) note(flags *pflag.FlagSet) {
	f.given = nil
	flags.Visit(func(flag *pflag.Flag) {
		switch flag.Name {
		case "login":
			f.login = flag.Value.String()
		case "port":
			f.port = flag.Value.String()
		}
		if slices.Contains(flagsOfOneRun, flag.Name) {
			return
		}
		values := []string{flag.Value.String()}
		if list, ok := flag.Value.(pflag.SliceValue); ok {
			values = list.GetSlice()
		}
		for _, value := range values {
			f.given = append(f.given, givenFlag(flag, value)...)
		}
	})
}

// givenFlag returns a flag as it is kept: nothing if it cannot be repeated.
func givenFlag(flag *pflag.Flag, value string) []string {
	switch {
	case flag.Name == "proxy":
		value = withoutPassword(value)
	case flag.Name == "hostfile" && value == "-":
		return nil // it was read, and is gone
	case slices.Contains(flagsOfFiles, flag.Name):
		value = samePlace(value)
	case flag.NoOptDefVal == value: // --sudo
		return []string{"--" + flag.Name}
	}
	return []string{"--" + flag.Name + "=" + value}
}

// withoutPassword returns a URL without the password in it.
func withoutPassword(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return hidden
	}
	if _, has := u.User.Password(); has {
		return strings.Replace(text, u.User.String()+"@", url.User(u.User.Username()).String()+":"+hidden+"@", 1)
	}
	return text
}

// samePlace returns the name of a file that means the same in another folder.
func samePlace(name string) string {
	if name == "-" || name == "none" || name == "" || strings.HasPrefix(name, "~") {
		return name
	}
	if full, err := filepath.Abs(name); err == nil {
		return full
	}
	return name
}

// recorder keeps the record of one run. That it cannot be kept is said once and stops nothing.
type recorder struct {
	c      *call
	tally  *tally
	report string

	writer *journal.Writer // nil: nothing is kept
	dir    string
	scrap  bool // the record is for the report only
	warned sync.Once
	ended  bool
}

// begin begins the record of a run of what start names.
func (f *recordFlags) begin(c *call, t *tally, start journal.Start) *recorder {
	r := &recorder{c: c, tally: t, report: f.report}
	if c.place != nil || f.noRecord && f.report == "" {
		return r // the hosts of the demo are gone when it ends
	}
	start.Time, start.Args = t.begun, f.given
	for i := range t.hosts {
		start.Hosts = append(start.Hosts, f.host(&t.hosts[i]))
	}
	err := r.create(f.noRecord, start)
	if err != nil && !f.noRecord {
		r.warn(err)
		if f.report != "" {
			err = r.create(true, start)
		}
	}
	if err != nil && f.report != "" {
		r.warn(err)
	}
	return r
}

// create makes the record: in the place of all, or in one that nobody sees.
func (r *recorder) create(scrap bool, start journal.Start) (err error) {
	if r.scrap = scrap; scrap {
		r.dir, err = os.MkdirTemp("", "fleetssh-report-")
	} else {
		r.dir, err = journal.Dir()
	}
	if err == nil {
		r.writer, err = journal.Create(r.dir, start)
	}
	return err
}

// host returns a host as it is kept: with the user and the port that the flags do not say.
func (f *recordFlags) host(e *hostEntry) journal.Host {
	h := journal.Host{Name: e.name}
	if e.config.User != f.login {
		h.User = e.config.User
	}
	if fmt.Sprint(e.config.Port) != f.port {
		h.Port = e.config.Port
	}
	if e.label != e.name {
		h.Label = e.label
	}
	return h
}

func (r *recorder) warn(err error) {
	if err == nil {
		return
	}
	r.warned.Do(func() {
		r.c.screen.Message("fleetssh: warning: the run goes on, but is not fully recorded: " + err.Error())
	})
}

// begins notes that host number i is about to be sent the command. It may be called by many
// goroutines at once.
func (r *recorder) begins(i int) {
	if r.writer != nil {
		r.warn(r.writer.Begin(i))
	}
}

// over returns a display that keeps what it shows.
func (r *recorder) over(d display) display {
	if r.writer == nil {
		return d
	}
	return &recordDisplay{display: d, recorder: r}
}

type recordDisplay struct {
	display
	recorder *recorder
}

func (d *recordDisplay) show(ev fleetssh.Event) {
	r := d.recorder
	if ev.Err == nil || !outputLost(ev.Err) {
		switch ev.Kind {
		case fleetssh.StdoutLine, fleetssh.StderrLine:
			r.warn(r.writer.Output(ev.Host, ev.Kind.String(), ev.Text, ev.Partial))
		}
	}
	d.display.show(ev)
}

func (d *recordDisplay) finished(result *result) {
	d.recorder.warn(d.recorder.writer.End(result.index, journalResult(result)))
	d.display.finished(result)
}

// end ends the record. Only its first call does something.
func (r *recorder) end() {
	if r.writer == nil || r.ended {
		return
	}
	r.ended = true
	s := r.tally.summary()
	r.warn(r.writer.Close(journal.Summary{
		Hosts: s.Hosts, Outcomes: s.Outcomes, OK: s.OK, Failed: s.Failed, ElapsedMS: s.ElapsedMS,
		ExitCode: r.tally.exitCode(), Interrupted: r.tally.interrupted,
	}))
}

// finish ends the record and writes the report. It returns what ends the program.
func (r *recorder) finish() error {
	r.end()
	ended := r.tally.err()
	err := r.writeReport()
	if ended == nil || err == nil {
		return cmp.Or(ended, err)
	}
	r.c.screen.Message("fleetssh: error: " + err.Error())
	return ended
}

// close ends the record, also of a run that was given up.
func (r *recorder) close() {
	r.end()
	if r.scrap && r.dir != "" {
		_ = os.RemoveAll(r.dir) // a leftover, at worst
	}
}

func (r *recorder) writeReport() error {
	switch {
	case r.report == "":
		return nil
	case r.writer == nil:
		return fmt.Errorf("report %s: there is no record to make it of", r.report)
	}
	run, err := journal.Open(r.dir, r.writer.ID())
	if err != nil {
		return fmt.Errorf("report %s: %w", r.report, err)
	}
	return writeReport(r.report, run)
}

// writeReport writes the page about a run.
func writeReport(name string, run *journal.Run) (err error) {
	data, err := reportOf(run)
	if err != nil {
		return fmt.Errorf("report %s: %w", name, err)
	}
	file, err := os.Create(name)
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	return page.Write(file, data)
}

// journalResult returns a result as it is kept.
func journalResult(r *result) journal.Result {
	o := r.outcome
	out := journal.Result{
		Outcome: o.Kind.String(), ExitCode: o.ExitCode, Signal: o.Signal, Phase: o.Phase, Stopped: o.Stopped, Attempts: r.timing.Attempts,
		ConnectMS: milliseconds(connectTime(r.timing)), RunMS: milliseconds(r.timing.Run), Cut: r.truncated,
	}
	if p := r.problem; p.kind != "" || p.hint != "" || r.message != "" {
		out.Error = &journal.Failure{Kind: p.kind, Phase: p.phase, Message: r.message, Reason: p.reason, Detail: p.detail, Hint: p.hint}
	}
	return out
}

// recordedResult is the way back: a result as it was in the run.
func recordedResult(h *journal.HostRun, begun time.Time) result {
	k := &h.Result
	r := result{index: h.Index, ok: k.OK(), truncated: k.Cut}
	r.outcome = fleetssh.Outcome{ExitCode: k.ExitCode, Signal: k.Signal, Phase: k.Phase, Stopped: k.Stopped}
	r.timing = fleetssh.Timing{Connect: ofMilliseconds(k.ConnectMS), Run: ofMilliseconds(k.RunMS), Attempts: k.Attempts}
	if !h.Ended.IsZero() {
		r.after = max(0, h.Ended.Sub(begun))
	}
	if e := k.Error; e != nil {
		r.message = e.Message
		r.problem = problem{kind: e.Kind, phase: e.Phase, reason: e.Reason, detail: e.Detail, hint: e.Hint, tries: k.Attempts}
	}
	for kind := fleetssh.Exited; kind <= fleetssh.Skipped; kind++ {
		if kind.String() == k.Outcome {
			r.outcome.Kind = kind
			return r
		}
	}
	r.outcome.Kind = fleetssh.Lost
	r.problem = problem{kind: "lost", reason: "how it ended was not recorded"}
	return r
}

// recordedTally returns how a run ended, as far as it is known. Hosts that are at work or wait
// have no result.
func recordedTally(run *journal.Run) *tally {
	t := &tally{hosts: make([]hostEntry, len(run.Hosts)), begun: run.Time, interrupted: run.State == journal.Interrupted}
	for i := range run.Hosts {
		h := &run.Hosts[i]
		t.hosts[i] = hostEntry{name: h.Name, label: termline.Visible(h.Shown())}
		if h.Result.Outcome != journal.Running && h.Result.Outcome != journal.Waiting {
			t.results = append(t.results, recordedResult(h, run.Time))
		}
	}
	return t
}

// reportOf returns what the page about a run shows.
func reportOf(run *journal.Run) (page.Data, error) {
	t := recordedTally(run)
	d := page.Data{Run: run.ID, Command: run.Command, Begun: run.Time, Elapsed: run.Elapsed, Notes: stateNotes(run)}
	for _, g := range t.failures() {
		p := g.first.problem
		d.Groups = append(d.Groups, page.Group{
			Title: g.title, Class: classOf(&run.Hosts[g.first.index]), Hosts: t.fold(g.hosts), Count: len(g.hosts),
			Reason: p.reason, Differ: g.differ, Detail: p.detail, Hint: p.hint,
		})
	}
	if ok, err := run.Select("ok"); err == nil && len(ok) > 0 {
		d.Groups = append(d.Groups, page.Group{Title: "exit code 0", Class: page.OK, Hosts: t.fold(indexesOf(ok)), Count: len(ok)})
	}
	for i := range run.Hosts {
		h := &run.Hosts[i]
		d.Hosts = append(d.Hosts, page.Host{
			Label: t.hosts[i].label, Outcome: h.Result.Outcome, Class: classOf(h), Attempts: h.Result.Attempts,
			Connect: ofMilliseconds(h.Result.ConnectMS), Run: ofMilliseconds(h.Result.RunMS),
		})
		d.Hosts[i].From, d.Hosts[i].To = h.Worked(run)
	}
	for i := range t.results {
		r := &t.results[i]
		title, _ := r.title()
		d.Hosts[r.index].Outcome, d.Hosts[r.index].Message = title, r.problem.reason
	}
	var err error
	d.Variants, err = variantsOf(run, t)
	return d, err
}

// classOf says whether all is well with a host.
func classOf(h *journal.HostRun) page.Class {
	switch {
	case h.OK():
		return page.OK
	case h.Result.Uncertain() || h.Result.Outcome == "skipped" || h.Result.Outcome == journal.Waiting:
		return page.Unclear
	}
	return page.Failed
}

// variantsOf returns what the hosts of a run wrote, the same once.
func variantsOf(run *journal.Run, t *tally) ([]page.Variant, error) {
	f := fold.New(len(run.Hosts))
	defer f.Close()
	streams := map[string]fold.Stream{"stdout": fold.Stdout, "stderr": fold.Stderr}
	for line, err := range wholeLines(run) {
		if err == nil {
			err = f.Line(line.Index, streams[line.Stream], line.Text)
		}
		if err != nil {
			return nil, err
		}
	}
	status := make([]string, len(run.Hosts))
	for i := range t.results {
		if r := &t.results[i]; !r.ok {
			status[r.index], _ = r.title()
		}
	}
	for i := range status {
		f.End(i, status[i])
	}
	var variants []page.Variant
	for _, g := range f.Certain() {
		v := page.Variant{Hosts: t.fold(g.Hosts), Count: len(g.Hosts), Status: g.Status, Cut: run.Hosts[g.Hosts[0]].Result.Cut}
		for stream, to := range map[fold.Stream]*string{fold.Stdout: &v.Stdout, fold.Stderr: &v.Stderr} {
			var text strings.Builder
			err := g.Lines(stream, func(line string) bool {
				text.WriteString(line + "\n")
				return true
			})
			if err != nil {
				return nil, err
			}
			*to = text.String()
		}
		variants = append(variants, v)
	}
	return variants, nil
}

// wholeLines yields what the hosts of a run wrote, with the pieces of long lines put together.
func wholeLines(run *journal.Run) iter.Seq2[journal.Line, error] {
	type stream struct {
		index int
		name  string
	}
	return func(yield func(journal.Line, error) bool) {
		pieces := make(map[stream]string)
		for line, err := range run.Output() {
			of := stream{line.Index, line.Stream}
			if err == nil && line.Partial {
				pieces[of] += line.Text
				continue
			}
			line.Text = pieces[of] + line.Text
			delete(pieces, of)
			if !yield(line, err) {
				return
			}
		}
		for of, text := range pieces { // the end was not kept
			if !yield(journal.Line{Index: of.index, Stream: of.name, Text: text, Partial: true}, nil) {
				return
			}
		}
	}
}

// fold returns the set of the labels of hosts.
func (t *tally) fold(hosts []int) string {
	labels := make([]string, len(hosts))
	for i, index := range hosts {
		labels[i] = t.hosts[index].label
	}
	return hostset.Of(labels...).String()
}

func indexesOf(hosts []journal.HostRun) []int {
	indexes := make([]int, len(hosts))
	for i := range hosts {
		indexes[i] = hosts[i].Index
	}
	return indexes
}

// stateNotes say what is not as usual with a run.
func stateNotes(run *journal.Run) []string {
	var notes []string
	switch run.State {
	case journal.UnderWay:
		notes = append(notes, "The run is under way.")
	case journal.Interrupted:
		notes = append(notes, "fleetssh ended before the run did: of hosts that had begun and have no result nobody knows how they ended.")
	}
	if run.Partial {
		notes = append(notes, "The record is not whole: hosts of which nothing is known may have run as well.")
	}
	return notes
}

// ofMilliseconds is the inverse of milliseconds.
func ofMilliseconds(ms float64) time.Duration { return time.Duration(ms * float64(time.Millisecond)) }
