// Package fleetshell is one prompt for many hosts: each line runs on all of them, in shells that keep
// their state.
package fleetshell

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/display"
	"fleetssh/cmd/fleetssh/internal/exit"
	"fleetssh/cmd/fleetssh/internal/results"
	"fleetssh/cmd/fleetssh/internal/selection"
	"fleetssh/cmd/fleetssh/internal/termline"
)

// Config is the configuration of a [Shell].
type Config struct {
	Hosts    []selection.Host
	Client   *fleetssh.ParallelClient // for these hosts; the shell closes it
	In       io.Reader                // the lines of a script
	Screen   *termline.Screen
	Warnings *display.Warnings // of the client
	Show     display.Flags     // :fold and :stream change them
	Timeout  time.Duration     // of a line; zero: none
}

// Shell is a shell on many hosts.
type Shell struct {
	Config
	consoles []*fleetssh.Console
	chosen   []bool       // hosts that lines run on
	failed   []int        // hosts on which the last line failed
	codes    map[int]bool // exit codes of all lines
	signals  <-chan os.Signal
	quit     bool
}

// New returns a shell that is not connected yet.
func New(c Config) *Shell {
	return &Shell{Config: c, consoles: make([]*fleetssh.Console, len(c.Hosts)), chosen: make([]bool, len(c.Hosts)), codes: make(map[int]bool)}
}

// Open opens the shells, and shows which hosts could not be reached. It returns an error if no host can
// be used.
func (s *Shell) Open(ctx context.Context) error {
	consoles, err := s.Client.OpenConsoles(ctx)
	if consoles == nil {
		return selection.UsageError(err, s.Hosts)
	}
	t := s.newSummary(s.all())
	for i, console := range consoles {
		s.consoles[i] = console
		s.chosen[i] = s.opened(t, i, console.Err)
	}
	s.Warnings.Show(s.Screen)
	s.showFailures(t)
	if ctx.Err() != nil {
		return exit.Status(exit.Interrupted)
	}
	if len(s.selection()) > 0 {
		return nil
	}
	return t.Err()
}

// opened adds a failed login to t, and reports whether the host can be used.
func (s *Shell) opened(t *results.Summary, i int, err error) bool {
	if err == nil {
		return true
	}
	t.AddResult(results.LoginResult(i, &s.Hosts[i].Config, nil, err))
	return false
}

// newSummary returns the summary of hosts, which are given by their indexes.
func (s *Shell) newSummary(indexes []int) *results.Summary {
	entries := make([]selection.Host, len(indexes))
	for k, i := range indexes {
		entries[k] = s.Hosts[i]
	}
	t := results.New(entries)
	t.Brief = true
	return t
}

// showFailures shows the failures, and collects their exit codes.
func (s *Shell) showFailures(t *results.Summary) {
	t.ShowFailures(s.Screen)
	for i := range t.Results {
		s.codes[exit.CodeOf(t.Results[i].Outcome)] = true
	}
}

// all returns the indexes of all hosts, and selection the indexes of those that lines run on.
func (s *Shell) all() []int {
	indexes := make([]int, len(s.Hosts))
	for i := range indexes {
		indexes[i] = i
	}
	return indexes
}

func (s *Shell) selection() []int {
	var indexes []int
	for i, chosen := range s.chosen {
		if chosen && !s.consoles[i].Finished() {
			indexes = append(indexes, i)
		}
	}
	return indexes
}

// Script runs the lines of In, up to the first invalid one. If all are valid, the error is an
// [exit.Status] unless every line succeeded on every host.
func (s *Shell) Script(ctx context.Context) error {
	in := bufio.NewReader(s.In)
	number := 0
	next := func() (string, error) {
		line, err := in.ReadString('\n')
		switch {
		case err == io.EOF && line == "":
			return "", io.EOF
		case err != nil && err != io.EOF:
			return "", fmt.Errorf("standard input: %s", exit.Reason(err))
		}
		number++
		return strings.TrimSuffix(line, "\n"), nil
	}
	for !s.quit && ctx.Err() == nil {
		line, err := next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		begun := number
		u, err := readCommand(line, next)
		if err == errUnfinished {
			return exit.UsageError("", "line %d of standard input: %v", begun, err)
		}
		if err != nil {
			return err
		}
		if wrong := s.run(ctx, u); wrong != nil {
			return wrong
		}
		if failure := s.Screen.Failure(); failure != nil {
			return exit.OutputError(failure)
		}
	}
	if ctx.Err() != nil {
		s.codes[exit.Interrupted] = true
	}
	if code := exit.First(s.codes); code != exit.OK {
		return exit.Status(code)
	}
	return nil
}

// run runs a command. An error ends a script; a dialogue shows it and continues.
func (s *Shell) run(ctx context.Context, u command) error {
	text := u.text
	trimmed := strings.TrimSpace(text)
	s.dropEnded() // shells may have ended since the last line
	switch {
	case len(s.selection()) == 0 && (trimmed == "exit" || trimmed == "quit" || trimmed == "logout"):
		s.quit = true // all shells have ended
		return nil
	case trimmed == "":
		return nil
	case strings.HasPrefix(trimmed, ":"):
		return s.builtin(ctx, u)
	case strings.HasPrefix(trimmed, "!"):
		return s.local(ctx, trimmed[1:])
	}
	if err := u.check(); err != nil {
		return err
	}
	return s.onHosts(ctx, func(int) fleetssh.ConsoleLine { return fleetssh.ConsoleLine{Text: text} })
}

// onHosts runs a line on the chosen hosts and shows the output. line gets the index of a host in Hosts.
func (s *Shell) onHosts(ctx context.Context, line func(i int) fleetssh.ConsoleLine) error {
	chosen := s.selection()
	if len(chosen) == 0 {
		return &exit.Error{Code: exit.Unreachable, Text: "no host is left to run a line on", Hint: ":all, :connect, :hosts, :quit"}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if s.Timeout > 0 {
		ctx, cancel = context.WithTimeout(ctx, s.Timeout)
		defer cancel()
	}
	consoles := make([]*fleetssh.Console, len(chosen))
	for k, i := range chosen {
		consoles[k] = s.consoles[i]
	}
	t := s.newSummary(chosen)
	lines := &runningLines{running: make(map[int]*fleetssh.HostOutput), begun: time.Now()}
	t.Outstanding.Working = lines.working // before the display starts a status line, which calls it
	show, end := s.Show.Display(display.View{Screen: s.Screen, Summary: t})
	defer end()
	var wg sync.WaitGroup
	over := make(chan struct{})
	if s.signals != nil {
		wg.Go(func() { lines.onInterrupt(ctx, s.signals, over, cancel, s.Screen) })
	}
	for ev := range fleetssh.StreamLines(ctx, consoles, func(k int) fleetssh.ConsoleLine { return line(chosen[k]) }) {
		switch ev.Kind {
		case fleetssh.Started:
			lines.set(ev.Index, ev.Output)
			show.Show(ev)
		case fleetssh.Finished:
			lines.set(ev.Index, nil)
			show.Finished(t.Add(ev))
		default:
			show.Show(ev)
		}
	}
	close(over)
	wg.Wait()
	show.Close()
	s.failed = nil
	for i := range t.Results {
		r := &t.Results[i]
		s.codes[exit.CodeOf(r.Outcome)] = true
		if !r.OK {
			s.failed = append(s.failed, chosen[r.Index])
		}
	}
	s.dropEnded()
	s.Warnings.Show(s.Screen)
	s.Screen.Flush()
	return nil
}

// dropEnded drops hosts whose shells have ended, and shows them.
func (s *Shell) dropEnded() {
	byReason := make(map[string][]string)
	for i, console := range s.consoles {
		if !s.chosen[i] || !console.Finished() {
			continue
		}
		s.chosen[i] = false
		reason := "the shell has ended"
		if console.Outcome().Kind == fleetssh.Lost {
			reason = "the connection is lost"
			s.codes[exit.Unreachable] = true
		}
		byReason[reason] = append(byReason[reason], s.Hosts[i].Label)
	}
	for _, reason := range slices.Sorted(maps.Keys(byReason)) {
		names := byReason[reason]
		s.Screen.Message(fmt.Sprintf("%s (%d): %s; :connect opens a shell again", selection.FoldNames(names), len(names), reason))
	}
}

// Close ends the shells and closes the connections.
func (s *Shell) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), closeGrace)
	defer cancel()
	var wg sync.WaitGroup
	for _, console := range s.consoles {
		if console != nil {
			wg.Go(func() { _ = console.Close(ctx) }) // closing the connection ends the shell anyway
		}
	}
	wg.Wait()
	s.Client.Close()
}

// closeGrace is how long shells may take to end.
const closeGrace = 2 * time.Second

// runningLines are the running lines, by host.
type runningLines struct {
	begun time.Time

	mu      sync.Mutex // protects what follows
	running map[int]*fleetssh.HostOutput
}

// working returns the hosts on which the line runs.
func (l *runningLines) working() (work []fleetssh.Progress) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for k := range l.running {
		work = append(work, fleetssh.Progress{Index: k, Phase: "run", Since: l.begun, Begun: l.begun})
	}
	slices.SortFunc(work, func(a, b fleetssh.Progress) int { return a.Index - b.Index })
	return work
}

// set records that a line runs on host k, or with nil that it has ended there.
func (l *runningLines) set(k int, out *fleetssh.HostOutput) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if out == nil {
		delete(l.running, k)
		return
	}
	l.running[k] = out
}

func (l *runningLines) list() []*fleetssh.HostOutput {
	l.mu.Lock()
	defer l.mu.Unlock()
	var outs []*fleetssh.HostOutput
	for _, out := range l.running {
		outs = append(outs, out)
	}
	return outs
}

// onInterrupt interrupts the lines on the first signal. On the second it gives up on hosts that have not
// reacted.
func (l *runningLines) onInterrupt(ctx context.Context, signals <-chan os.Signal, over <-chan struct{}, giveUp func(), screen *termline.Screen) {
	ctx, cancel := context.WithCancel(ctx)
	var sending sync.WaitGroup
	defer sending.Wait()
	defer cancel()
	interrupted := false
	for {
		select {
		case <-over:
			return
		case <-signals:
			if interrupted {
				cancel()
				giveUp()
				screen.Message("fleetssh: giving up on hosts that do not react")
				<-over
				return
			}
			interrupted = true
			sending.Go(func() { l.interrupt(ctx) })
			screen.Message("fleetssh: interrupted; press Ctrl-C again to give up on hosts that do not react")
		}
	}
}

// interruptGrace is how long busy hosts may take to accept an interrupt.
const interruptGrace = 10 * time.Second

// interrupt sends INT to all lines.
func (l *runningLines) interrupt(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, interruptGrace)
	defer cancel()
	var wg sync.WaitGroup
	for _, out := range l.list() {
		wg.Go(func() { _ = out.Signal(ctx, ssh.SIGINT) }) // the second interrupt gives up on a host without signals
	}
	wg.Wait()
}

// showError shows an error in a dialogue.
func (s *Shell) showError(err error) {
	if f, ok := errors.AsType[*exit.Error](err); ok && f.Hint != "" {
		s.Screen.Message("fleetssh: " + f.Text + " (" + f.Hint + ")")
		return
	}
	s.Screen.Message("fleetssh: " + err.Error())
}
