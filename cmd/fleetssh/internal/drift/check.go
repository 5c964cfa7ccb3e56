// Package drift compares local files with those on hosts, as put --check does, and shows how hosts
// differ.
package drift

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/results"
	"fleetssh/internal/compare"
	"fleetssh/internal/sanitize"
)

const (
	maxContent  = 64 << 10 // bytes of a file whose differences are shown
	maxContents = 20       // different contents that are fetched for that, from all hosts
)

// Check compares the files of a copy with those on hosts. Each host is asked once, over one command; with
// Diff, the first host with a content is asked for it, too.
type Check struct {
	Client  *fleetssh.ParallelClient
	Command fleetssh.Command // the account that looks: Sudo and SudoPassword
	Paths   func(i int) (sources []string, dest string, err error)
	Want    compare.Want
	Diff    bool
	Timeout time.Duration // for each host; zero: none
	Before  func(i int)   // is called before host number i is asked; calls overlap

	plans []*plan

	mu       sync.Mutex // protects what follows
	claimed  map[string]bool
	contents map[string]content // by content and path
}

// plan is what a host is asked.
type plan struct {
	query    compare.Query
	entries  []compare.Entry
	manifest string
}

// content is a file of a host.
type content struct {
	text string
	why  string // why it is not shown; empty: it is
}

// Host is what was found on a host.
type Host struct {
	Index  int
	Report *compare.Report // nil: the host was not compared
	Err    error           // why
	Ended  fleetssh.Outcome
	client *fleetssh.Client

	plan *plan
}

// Prepare reads the local files of all hosts.
func (c *Check) Prepare() error {
	known := make(map[string]*plan)
	for i := range c.Client.Hosts {
		sources, dest, err := c.Paths(i)
		if err != nil {
			return err
		}
		key := strings.Join(append(sources, dest), "\x00")
		if known[key] == nil {
			p := &plan{query: compare.Query{Into: compare.Into(sources, dest), Owners: c.Want.Owners()}}
			if p.query.Dest, err = compare.Destination(dest); err == nil {
				p.entries, err = compare.Entries(sources)
			}
			if err != nil {
				return err
			}
			p.manifest = compare.Manifest(p.entries)
			known[key] = p
		}
		c.plans = append(c.plans, known[key])
	}
	c.claimed, c.contents = make(map[string]bool), make(map[string]content)
	return nil
}

// Run compares all hosts and calls done for each of them, on the goroutine of Run.
func (c *Check) Run(ctx context.Context, done func(Host)) {
	ended := make(chan Host)
	c.Client.HostDone = func(i int, err error) {
		if err != nil { // connecting failed, or the host was skipped
			ended <- Host{Index: i, Err: err, Ended: fleetssh.OutcomeOf(err), plan: c.plans[i]}
		}
	}
	go func() {
		defer close(ended)
		_ = c.Client.Do(ctx, func(ctx context.Context, i int, client *fleetssh.Client) error { // HostDone has its errors
			ended <- c.host(ctx, i, client)
			return nil
		})
	}()
	for h := range ended {
		done(h)
	}
}

// host compares the files of one host.
func (c *Check) host(ctx context.Context, i int, client *fleetssh.Client) Host {
	h := Host{Index: i, client: client, plan: c.plans[i]}
	if c.Before != nil {
		c.Before(i)
	}
	p := c.plans[i]
	var report *compare.Report
	h.Ended, h.Err = c.ask(ctx, client, p.query.Line(), p.manifest, func(from io.Reader) (err error) {
		report, err = p.query.Read(from, p.entries, c.Want)
		return err
	})
	if h.Err != nil || !h.Ended.OK() {
		return h
	}
	h.Report = report
	if c.Diff {
		c.fetch(ctx, &h)
	}
	return h
}

// ask runs a command line on a host, and calls read with its output. The error is why it did not run, or
// that of read if it ended well, or the last line of its standard error.
func (c *Check) ask(ctx context.Context, client *fleetssh.Client, line, input string, read func(io.Reader) error) (fleetssh.Outcome, error) {
	command := c.Command
	command.Line, command.Stdin, command.Timeout = line, strings.NewReader(input), c.Timeout
	out, err := client.RunCommand(ctx, command)
	if err != nil {
		return fleetssh.OutcomeOf(err), err
	}
	defer out.Close()
	defer context.AfterFunc(ctx, func() { out.Close() })() // ends the output, which is read below
	complaint := make(chan string, 1)
	go func() {
		text, _ := io.ReadAll(io.LimitReader(out.Stderr, maxContent)) // what is missing is cut off
		_, _ = io.Copy(io.Discard, out.Stderr)
		complaint <- string(text)
	}()
	readErr := read(out.Stdout)
	_, _ = io.Copy(io.Discard, out.Stdout) // the command must not wait for a reader
	err = out.WaitFinished(ctx)
	o := out.Outcome()
	if ctx.Err() != nil && !o.OK() {
		o, err = fleetssh.Outcome{Kind: fleetssh.Cancelled}, ctx.Err()
	}
	said := lastLine(<-complaint)
	_, exited := errors.AsType[*fleetssh.ExitError](err)
	switch {
	case o.OK():
		return o, readErr
	case exited && said != "":
		return o, errors.New(said)
	case exited:
		return o, errors.New(o.String())
	}
	return o, err
}

// lastLine returns the last line of a text.
func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return sanitize.Line(lines[len(lines)-1])
}

// contentKey identifies the content of a file on hosts, and with which local file it is compared.
func (h *Host) contentKey(d *compare.Difference) string {
	return d.Sum + "\x00" + h.plan.entries[d.Index].Local
}

// fetch gets the contents of a host that no other host has told.
func (c *Check) fetch(ctx context.Context, h *Host) {
	for k := range h.Report.Differences {
		d := &h.Report.Differences[k]
		e := &h.plan.entries[d.Index]
		if d.State != compare.Content || e.Kind != compare.File {
			continue
		}
		key := h.contentKey(d)
		c.mu.Lock()
		mine := !c.claimed[key] && len(c.claimed) < maxContents
		if mine {
			c.claimed[key] = true
		}
		c.mu.Unlock()
		if !mine {
			continue
		}
		var data []byte
		one := compare.Manifest(h.plan.entries[d.Index : d.Index+1])
		_, err := c.ask(ctx, h.client, h.plan.query.ContentLine(maxContent+1), one, func(from io.Reader) (err error) {
			data, err = io.ReadAll(io.LimitReader(from, maxContent+1))
			return err
		})
		got := newContent(data)
		if err != nil {
			got = content{why: "its content cannot be read: " + err.Error()}
		}
		c.mu.Lock()
		c.contents[key] = got
		c.mu.Unlock()
	}
}

// newContent returns the content of a file if it is a text that is not too long.
func newContent(data []byte) content {
	switch {
	case len(data) > maxContent:
		return content{why: fmt.Sprintf("more than %d KiB: no differences are shown", maxContent>>10)}
	case !utf8.Valid(data) || strings.ContainsRune(string(data), 0):
		return content{why: "not a text: no differences are shown"}
	}
	return content{text: string(data)}
}

// localContent returns the content of a local file.
func localContent(name string) content {
	file, err := os.Open(name)
	if err != nil {
		return content{why: err.Error()}
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxContent+1))
	if err != nil {
		return content{why: err.Error()}
	}
	return newContent(data)
}

// Result returns the result of a host.
func (c *Check) Result(h Host) results.Result {
	config := &c.Client.Hosts[h.Index]
	switch {
	case h.client == nil && h.Ended.Kind == fleetssh.Skipped:
		return results.Result{Index: h.Index, Outcome: h.Ended}
	case h.client == nil:
		return results.LoginResult(h.Index, config, nil, h.Err)
	}
	r := results.Result{Index: h.Index, Timing: h.client.Timing(), Outcome: h.Ended}
	switch {
	case h.Report == nil:
		r.Outcome = h.Ended
		if h.Ended.OK() { // the answer was not understood
			r.Outcome = fleetssh.Outcome{Kind: fleetssh.NotStarted, Phase: fleetssh.PhaseRun}
		}
		r.Problem = results.ProblemOf(h.Err, config)
		if r.Outcome.Kind == fleetssh.Cancelled {
			r.Problem = results.Problem{}
		}
		if r.Outcome.Kind == fleetssh.Exited || h.Ended.OK() {
			r.Problem = results.Problem{Kind: "session", Phase: string(fleetssh.PhaseRun), Reason: h.Err.Error()}
		}
		r.Message = h.Err.Error()
	case h.Report.Different > 0:
		r.Outcome = fleetssh.Outcome{Kind: fleetssh.Exited, ExitCode: 1}
		r.Differs = true
	default:
		r.OK = true
	}
	return r
}
