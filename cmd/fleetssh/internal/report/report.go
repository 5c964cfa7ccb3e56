// Package report writes the page about a run: one self-contained HTML file with the outcomes of the
// hosts, the causes, the output and the timing.
//
// The rules of the page:
//   - It loads nothing: style and script are inline, and its content security policy forbids more.
//   - Nothing from a host is markup: all of it is escaped, and characters that control a terminal
//     or change the direction of writing are made visible.
//   - All content is there without the script, which only sorts and filters tables.
//   - Colours follow the reader's light or dark setting, and repeat what words say.
//   - It is bounded: omitted items are counted.
package report

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"sync"
	"time"
)

// The limits of a page.
const (
	maxRows         = 10_000   // of the table of hosts
	maxVariants     = 100      // of the outputs
	maxOpen         = 4        // of these, shown without a click
	maxVariant      = 64 << 10 // bytes of one of them
	maxVariantBytes = 3 << 20  // of all
	maxBatches      = 1000
	maxGateBytes    = 1 << 20   // of all gates
	maxCompared     = 256 << 10 // bytes of outputs whose differences are looked for
	maxMessage      = 240       // bytes, in the table of hosts
	maxName         = 300       // bytes of a label or of an outcome
	maxSet          = 20 << 10  // bytes of a set of hosts
	maxStderr       = 4 << 10   // bytes of a text beside a failure
	slowest         = 25        // hosts in their table
)

// Data is the content of a page.
type Data struct {
	Run     string // its name
	Command string
	Begun   time.Time
	Elapsed time.Duration
	Notes   []string // such as that the run was interrupted

	Rerun    string    // the command line that repeats the run; empty: it cannot be repeated
	Batches  []Batch   // in their order; empty: there was one
	Gates    []Gate    // in their order
	Groups   []Group   // how hosts ended, the most urgent first
	Variants []Variant // their outputs, the most common first
	Hosts    []Host    // in their order
}

// Class is the overall result of a host.
type Class string

// The classes of hosts.
const (
	OK      Class = "ok"
	Failed  Class = "failed"
	Unclear Class = "unclear" // it may have run, or was not started
)

// Group is the hosts with the same outcome.
type Group struct {
	Title  string
	Class  Class
	Hosts  string // as a set
	Count  int
	Reason string   // of the first of them; may be empty
	Differ bool     // the reasons differ
	Detail []string // more about the first
	Hint   string   // the next step; may be empty
	Stderr []Stderr // what the hosts wrote to standard error, the most common first
}

// Stderr is the end of what some hosts wrote to standard error.
type Stderr struct {
	Hosts string // as a set
	Count int
	Text  string
	More  int // how many other texts are not shown, if it is positive
}

// Batch is a batch of hosts. The next one begins after it, its gates, and the pause or the question.
type Batch struct {
	Number, Hosts, OK, Failed int
	From, Took, Gates, Waited time.Duration
}

// Gate is the result of a command that decided, after a batch, whether the run continues.
type Gate struct {
	Batch   int
	Here    bool // it ran on this machine, not on hosts
	Command string
	Hosts   int
	OK      bool
	Failed  string // the hosts on which it failed, as a set
	Count   int    // of these hosts
	Reason  string // may be empty
	Output  string // if it failed; may be empty
	Took    time.Duration
}

// Variant is the identical output of some hosts.
type Variant struct {
	Hosts          string // as a set
	Count          int
	Status         string // how they failed; empty if they did not
	Stdout, Stderr string
	Cut            bool // the output is incomplete
}

// Host is one host. Times are relative to the start of the run.
type Host struct {
	Label    string
	Outcome  string // in words
	Class    Class
	From, To time.Duration // the span of its work; equal if there was none
	Connect  time.Duration // how long connecting and logging in took
	Run      time.Duration // how long the command ran
	Attempts int
	Message  string // why it failed; may be empty
}

//go:embed page.tmpl
var pageText string

//go:embed style.css
var style string

//go:embed tables.js
var script string

// page returns the template, parsed at its first use: most runs write no report.
var page = sync.OnceValue(func() *template.Template {
	return template.Must(template.New("page").Funcs(template.FuncMap{
		"seconds": seconds,
		"ms":      func(d time.Duration) string { return fmt.Sprint(d.Microseconds()) },
	}).Parse(pageText))
})

// Write writes the page.
func Write(w io.Writer, data Data) error {
	if err := page().Execute(w, newView(data)); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}

// policy lets the browser use what is in the page, and nothing else.
func policy() string {
	hash := func(text string) string {
		sum := sha256.Sum256([]byte(text))
		return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
	}
	return "default-src 'none'; style-src " + hash(style) + "; script-src " + hash(script) + "; base-uri 'none'; form-action 'none'"
}

// seconds formats a duration for people.
func seconds(d time.Duration) string {
	switch {
	case d <= 0:
		return "–"
	case d < time.Millisecond:
		return "<1 ms"
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < time.Minute:
		return fmt.Sprintf("%.2f s", d.Seconds())
	case d < time.Hour:
		return fmt.Sprintf("%d min %02d s", int(d.Minutes()), int(d.Seconds())%60)
	}
	return fmt.Sprintf("%d h %02d min", int(d.Hours()), int(d.Minutes())%60)
}
