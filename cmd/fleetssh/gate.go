package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/display"
	"fleetssh/cmd/fleetssh/internal/exit"
	"fleetssh/cmd/fleetssh/internal/journal"
	"fleetssh/cmd/fleetssh/internal/localshell"
	"fleetssh/cmd/fleetssh/internal/results"
	"fleetssh/cmd/fleetssh/internal/selection"
	"fleetssh/cmd/fleetssh/internal/termline"
)

// stopAfter returns why the rollout stops after batch number n, although not too many hosts have failed:
// a gate fails, or the user says so. It is empty if the next batch may run.
func (s *rollout) stopAfter(ctx context.Context, n int, sizes []int) string {
	ended := s.summary.Results[s.ended:]
	s.ended = len(s.summary.Results)
	done := hostsOK(ended)
	batch := fmt.Sprintf("batch %d of %d", n+1, len(sizes))
	for _, ask := range []func() string{
		func() string { return s.gate(ctx, n, len(sizes), done) },
		func() string { return s.localGate(ctx, n, len(sizes), done) },
		func() string { return s.step(ctx, n, sizes, batch, ended) },
	} {
		if stop := ask(); stop != "" || ctx.Err() != nil {
			return stop
		}
	}
	return ""
}

// hostsOK returns the indexes of the hosts that did not fail, in order.
func hostsOK(ended []results.Result) []int {
	var done []int
	for i := range ended {
		if ended[i].OK {
			done = append(done, ended[i].Index)
		}
	}
	slices.Sort(done)
	return done
}

// checkGate refuses a --gate that cannot be sent. args has the values for its placeholders, by host.
func (f *safetyFlags) checkGate(hosts []selection.Host, args []fleetssh.Args) error {
	if f.gate == "" {
		return nil
	}
	if _, err := (fleetssh.Command{Line: f.gate, HostArgs: args}).CommandLine(0); err != nil {
		if usage, ok := errors.AsType[*exit.Error](selection.UsageError(err, hosts)); ok {
			return exit.UsageError(usage.Hint, "--gate: %s", usage.Text)
		}
		return err
	}
	return nil
}

// showGate shows what --dry-run has not shown for each batch.
func (f *safetyFlags) showGate(screen *termline.Screen) {
	if f.gate != "" {
		screen.Message("after each batch, on its hosts: " + f.gate)
	}
	if f.gateLocal != "" {
		screen.Message("after each batch, on this machine: " + f.gateLocal)
	}
}

// gate runs --gate on hosts of a batch, and returns why the rollout stops.
func (s *rollout) gate(ctx context.Context, n, batches int, done []int) string {
	if s.safety.gate == "" || len(done) == 0 {
		return ""
	}
	return s.recordGate(ctx, journal.Gate{Batch: n + 1, Batches: batches, Where: journal.OnHosts, Command: s.safety.gate, Hosts: len(done)}, func(g *journal.Gate) string {
		return s.runGate(ctx, g, done)
	})
}

// recordGate calls run, which returns that the gate failed and sets why, and records the result. It
// returns why the rollout stops.
func (s *rollout) recordGate(ctx context.Context, g journal.Gate, run func(*journal.Gate) string) string {
	g.Began = time.Now()
	stop := run(&g)
	g.ElapsedMS = results.Milliseconds(time.Since(g.Began))
	if ctx.Err() != nil {
		g.Reason = "it was stopped"
	}
	g.OK = stop == "" && g.Reason == ""
	s.record.GateEnded(g)
	if stop == "" {
		return ""
	}
	stop = fmt.Sprintf("%s after batch %d of %d", stop, g.Batch, g.Batches)
	if g.Reason != "" {
		stop += ": " + g.Reason
	}
	return stop
}

// runGate runs --gate on hosts for recordGate. Connections are new, so the gate sees what a
// new login sees.
func (s *rollout) runGate(ctx context.Context, g *journal.Gate, done []int) string {
	hosts := make([]selection.Host, len(done))
	command := fleetssh.Command{Line: s.safety.gate, Timeout: s.gateTimeout}
	for i, index := range done {
		hosts[i] = s.hosts[index]
		if s.gateArgs != nil {
			command.HostArgs = append(command.HostArgs, s.gateArgs[index])
		}
	}
	flags := hosts[0].Flags
	client := &fleetssh.ParallelClient{Hosts: selection.Configs(hosts), PoolSize: flags.Fanout, OneShot: true, Logger: slog.New(s.c.warnings)}
	defer client.Close()
	flags.SetPasswordPolicy(s.c.environment(), client)
	summary := results.New(hosts)
	output := display.NewBatchFold(s.c.screen, summary)
	defer output.Close()
	if err := output.Begin(0, len(hosts)); err != nil {
		g.Reason = err.Error()
		return "the gate failed"
	}
	events, err := client.Stream(ctx, command)
	if err != nil {
		g.Reason = err.Error()
		return "the gate failed"
	}
	for ev := range events {
		if ev.Kind == fleetssh.Finished {
			output.Finished(summary.Add(ev))
			continue
		}
		output.Show(ev)
	}
	failed := summary.Failed()
	if failed == 0 || ctx.Err() != nil {
		return ""
	}
	s.c.screen.Message("fleetssh: gate: " + s.safety.gate)
	output.ShowBatch(true)
	g.Output = output.Text(true)
	var failures []int
	for i := range summary.Results {
		if r := &summary.Results[i]; !r.OK {
			failures = append(failures, done[r.Index])
		}
	}
	slices.Sort(failures)
	g.Failed = journal.Ranges(failures)
	return "the gate failed on " + countOf(failed, len(hosts))
}

// countOf formats a part of a number of hosts.
func countOf(n, hosts int) string {
	if n == hosts {
		return selection.CountHosts(n)
	}
	return fmt.Sprintf("%d of %s", n, selection.CountHosts(hosts))
}

// maxGateOutput bounds the output of --gate-local, in bytes.
const maxGateOutput = 1 << 20

// localGate runs --gate-local on this machine, and returns why the rollout stops. The command gets the
// names of the hosts on standard input, one per line.
func (s *rollout) localGate(ctx context.Context, n, batches int, done []int) string {
	if s.safety.gateLocal == "" {
		return ""
	}
	return s.recordGate(ctx, journal.Gate{Batch: n + 1, Batches: batches, Where: journal.OnThisMachine, Command: s.safety.gateLocal, Hosts: len(done)}, func(g *journal.Gate) string {
		return s.runLocalGate(ctx, g, done)
	})
}

// runLocalGate runs --gate-local for recordGate.
func (s *rollout) runLocalGate(ctx context.Context, g *journal.Gate, done []int) string {
	var names strings.Builder
	for _, index := range done {
		names.WriteString(s.hosts[index].Given + "\n")
	}
	command := localshell.Command{
		Line: s.safety.gateLocal, Stdin: strings.NewReader(names.String()), Limit: maxGateOutput,
		Env: []string{fmt.Sprintf("FLEETSSH_BATCH=%d", g.Batch), fmt.Sprintf("FLEETSSH_BATCHES=%d", g.Batches)},
	}
	output, err := command.Run(ctx)
	if err == nil || ctx.Err() != nil {
		return ""
	}
	s.c.screen.Message("fleetssh: gate on this machine: " + s.safety.gateLocal)
	for line := range strings.Lines(string(output)) {
		s.c.screen.Err("  ", strings.TrimRight(line, "\r\n"))
	}
	g.Output, g.Reason = string(output), err.Error()
	return "the gate on this machine failed"
}

// step asks the user whether the next batch may run, for --step, or because the user wants a pause.
func (s *rollout) step(ctx context.Context, n int, sizes []int, batch string, ended []results.Result) string {
	if n+1 == len(sizes) || !s.safety.step && !s.view.Pausing() {
		return ""
	}
	left := len(sizes) - n - 1
	question := fmt.Sprintf("%s is done. Run batch %d on %s?", batch, n+2, selection.CountHosts(sizes[n+1]))
	shown := false
	for {
		answer, ok := s.view.Ask(ctx, question)
		if ctx.Err() != nil {
			return ""
		}
		if !ok {
			if !shown {
				s.showEnded(ended)
			}
			shown = true
			var err error
			if answer, err = s.c.ask(ctx, fmt.Sprintf("%s [y/N/a: all %d left] ", question, left), true); err != nil {
				if ctx.Err() != nil {
					return ""
				}
				return fmt.Sprintf("no answer after %s: %v", batch, err)
			}
		}
		switch strings.ToLower(strings.TrimSpace(answer)) {
		case "y", "yes":
			return ""
		case "a", "all":
			s.safety.step = false
			return ""
		case "", "n", "no":
			return "you ended the rollout after " + batch
		}
	}
}

// showEnded shows the hosts of a batch, before the user decides on the next one.
func (s *rollout) showEnded(ended []results.Result) {
	if s.batchFold != nil {
		s.batchFold.ShowBatch(false)
	} else {
		s.showBatch(ended)
	}
}

// showBatch shows how the hosts of a batch ended, for verbs without output of hosts.
func (s *rollout) showBatch(ended []results.Result) {
	batch := results.Summary{Hosts: s.hosts, Results: ended, Brief: true}
	failed := batch.Failed()
	s.c.screen.Message(fmt.Sprintf("fleetssh: %d ok, %d failed", len(ended)-failed, failed))
	batch.ShowFailures(s.c.screen)
}
