//go:build linux

package main

import (
	"context"
	"fmt"
	"time"
)

// behindHop is the prefix of this part's goals in the list of missed goals. The goals are the same
// as without a hop.
const behindHop = "behind a hop, "

// hop repeats other parts with hosts that are all behind one hop.
func (s *suite) hop(ctx context.Context) error {
	for _, run := range []func(context.Context) error{s.hopHosts, s.hopIdle, s.hopOutput, s.hopDelay} {
		if err := run(ctx); err != nil {
			return err
		}
	}
	return nil
}

// hopHosts runs `true` on hosts over fresh connections.
func (s *suite) hopHosts(ctx context.Context) error {
	type group struct {
		n                 int
		bare, stream, run *contender
	}
	var groups []*group
	var all []*contender
	for _, n := range s.sizes() {
		contend := func(name, client string) *contender {
			c := s.contend(name, s.hopJob(client, "hosts", s.sim, s.sim.Hosts[:n]), 0)
			if n == 100 {
				c.times = 3
			}
			all = append(all, c)
			return c
		}
		groups = append(groups, &group{
			n: n, bare: contend("bare", "bare"),
			stream: contend("fleetssh, Stream", "stream"), run: contend("fleetssh, RunCommand and Join", "run"),
		})
	}
	if err := s.compete(ctx, s.rounds(5, 5), all...); err != nil {
		return err
	}
	t := newTable("`true` on simulated hosts behind one hop, 100 at once, fresh connections",
		"client", "hosts", "CPU ms/host", "× bare", "goal", "wall s", "peak MiB", "goal")
	for _, g := range groups {
		t.row(s.cells(g.bare, g.n, "", "", "")...)
		for _, c := range []*contender{g.stream, g.run} {
			what := fmt.Sprintf("%s%s, %d hosts", behindHop, c.name, g.n)
			rel := ratio(c.results, g.bare.results, totalCPU)
			t.row(s.cells(c, g.n, times(rel), s.goal(what+", CPU against bare", rel, goalHosts, "%.2f"),
				s.goal(what+", peak MiB", median(c.results, peakMiB), goalPeak, "%.0f"))...)
		}
	}
	t.print(s.out)
	first, last := groups[0], groups[len(groups)-1]
	fmt.Fprintln(s.out)
	s.growth(first.n, last.n, [][2]*contender{{first.bare, last.bare}, {first.stream, last.stream}, {first.run, last.run}})
	return nil
}

// hopIdle holds connections open.
func (s *suite) hopIdle(ctx context.Context) error {
	hosts := s.sim.Hosts
	contend := func(name, client string) *contender {
		j := s.hopJob(client, "idle", s.sim, hosts)
		j.Hold = 2 * time.Second
		return s.contend(name, j, 0)
	}
	bare, ours := contend("bare", "bare"), contend("fleetssh", "run")
	if err := s.compete(ctx, s.rounds(3, 3), bare, ours); err != nil {
		return err
	}
	t := newTable(fmt.Sprintf("%d connections behind one hop held open", len(hosts)),
		"client", "KiB each", "stacks", "heap", "× bare", "goal", "cores, idle", "peak MiB")
	for _, c := range []*contender{bare, ours} {
		if len(c.results) == 0 {
			t.row(c.name, "failed")
			continue
		}
		each, rel, verdict := median(c.results, rssKiB), "", ""
		if c == ours {
			rel = times(ratio(c.results, bare.results, rssKiB))
			verdict = s.goal(behindHop+"idle connection, KiB", each, goalConnection, "%.0f")
		}
		t.row(c.name, fmt.Sprintf("%.1f", each), fmt.Sprintf("%.1f", median(c.results, stackKiB)), fmt.Sprintf("%.1f", median(c.results, heapKiB)),
			rel, verdict, fmt.Sprintf("%.4f", median(c.results, idle)), fmt.Sprintf("%.0f", median(c.results, peakMiB)))
	}
	t.print(s.out)
	return nil
}

// hopOutput reads one long output from a real sshd through another.
func (s *suite) hopOutput(ctx context.Context) error {
	sshd, err := startServer(ctx, "-role", "sshd", "-dir", s.dir)
	if err != nil {
		fmt.Fprintln(s.out, "\nOutput behind a hop skipped:", err)
		return nil
	}
	defer sshd.close()
	bytes := int64(256 << 20)
	if s.long {
		bytes = 1 << 30
	}
	contend := func(name, client string) *contender {
		j := s.hopJob(client, "hosts", sshd, sshd.Hosts[:1])
		j.Line = fmt.Sprintf("yes %s | head -c %d", line63, bytes)
		return s.contend(name, j, bytes)
	}
	pairs := [][2]*contender{
		{contend("bare", "bare"), contend("fleetssh, io.Copy", "copy")},
		{contend("bare, line by line", bareLines), contend("fleetssh, Stream, line by line", "stream")},
	}
	if err := s.compete(ctx, s.rounds(3, 5), pairs[0][0], pairs[0][1], pairs[1][0], pairs[1][1]); err != nil {
		return err
	}
	title := fmt.Sprintf("%d MiB from one sshd through another", bytes>>20)
	t := newTable(title, "client", "CPU s", "× bare", "goal", "wall s", "× bare", "peak MiB")
	for _, pair := range pairs {
		for _, c := range pair {
			if len(c.results) == 0 {
				t.row(c.name, "failed")
				continue
			}
			cells := []string{c.name, fmt.Sprintf("%.2f", median(c.results, totalCPU)), "", "",
				fmt.Sprintf("%.2f", median(c.results, spent)), "", fmt.Sprintf("%.0f", median(c.results, peakMiB))}
			if c == pair[1] {
				rel := ratio(c.results, pair[0].results, totalCPU)
				cells[2] = times(rel)
				cells[3] = s.goal(title+", "+c.name+", CPU against bare", rel, goalOutput, "%.2f")
				cells[5] = times(ratio(c.results, pair[0].results, spent))
			}
			t.row(cells...)
		}
	}
	t.print(s.out)
	return nil
}

// hopDelay runs a command on 100 hosts behind a hop. The delay to the hop and the delay from the
// hop to each host are the same.
func (s *suite) hopDelay(ctx context.Context) error {
	t := newTable("`true` on 100 hosts behind one hop, all at once, with delay before and behind the hop",
		"client", "delay ms", "wall s", "× bare", "goal")
	if err := s.delayed(ctx, t, 20*time.Millisecond, behindHop, s.hopJob); err != nil {
		return err
	}
	t.print(s.out)
	return nil
}
