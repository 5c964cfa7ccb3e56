//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"
)

// The goals, in the order of the tables. Ratios are to the bare loop unless the comment says
// otherwise.
const (
	goalHosts       = 1.25 // CPU for one command on each host
	goalGrowth      = 1.1  // CPU per host with the most hosts, against CPU per host with 100
	goalHashed      = 1.25 // CPU with many hashed lines, against plain lines
	goalPeak        = 64.0 // MiB
	goalConnection  = 50.0 // KiB for each idle connection
	goalIdle        = 0.02 // cores for all idle connections
	goalOutput      = 1.15 // CPU
	goalCommands    = 1.2  // CPU
	goalDelay       = 1.05 // wall time
	keepAliveWindow = 125 * time.Second
)

// hosts runs `true` on hosts over fresh connections.
func (s *suite) hosts(ctx context.Context) error {
	type group struct {
		n                              int
		bare, stream, run, cli, hashed *contender
	}
	var groups []*group
	var all []*contender
	for _, n := range s.sizes() {
		g := &group{n: n}
		hosts := s.sim.Hosts[:n]
		g.bare = s.contend("bare", s.job("bare", "hosts", s.sim, hosts), 0)
		g.stream = s.contend("fleetssh, Stream", s.job("stream", "hosts", s.sim, hosts), 0)
		g.run = s.contend("fleetssh, RunCommand and Join", s.job("run", "hosts", s.sim, hosts), 0)
		add := []*contender{g.bare, g.stream, g.run}
		if p, err := commandLine(ctx, s.dir, s.user, s.sim, hosts); err == nil {
			g.cli = &contender{name: p.name, run: p.run}
			add = append(add, g.cli)
		} else if n == 100 {
			fmt.Fprintln(os.Stderr, "bench:", err)
		}
		if n > 100 {
			j := s.job("stream", "hosts", s.sim, hosts)
			j.KnownHosts = s.sim.Hashed
			g.hashed = s.contend(fmt.Sprintf("fleetssh, Stream, %d hashed lines", hashedLines), j, 0)
			add = append(add, g.hashed)
		}
		if n == 100 {
			for _, c := range add {
				c.times = 3
			}
		}
		groups, all = append(groups, g), append(all, add...)
	}
	if err := s.compete(ctx, s.rounds(5, 5), all...); err != nil {
		return err
	}
	others, err := s.others(ctx)
	if err != nil {
		return err
	}
	t := newTable("`true` on simulated hosts, 100 at once, fresh connections",
		"client", "hosts", "CPU ms/host", "× bare", "goal", "wall s", "peak MiB", "goal")
	for _, g := range groups {
		for _, c := range []*contender{g.bare, g.stream, g.run, g.cli, g.hashed} {
			if c == nil {
				continue
			}
			times, verdict, peak := "", "", ""
			rel := ratio(c.results, g.bare.results, totalCPU)
			what := fmt.Sprintf("%s, %d hosts", c.name, g.n)
			switch c {
			case g.bare:
			case g.stream, g.run, g.cli:
				verdict = s.goal(what+", CPU against bare", rel, goalHosts, "%.2f")
				peak = s.goal(what+", peak MiB", median(c.results, peakMiB), goalPeak, "%.0f")
			case g.hashed:
				toPlain := ratio(c.results, g.stream.results, totalCPU)
				verdict = fmt.Sprintf("%.2f × plain, ", toPlain) + s.goal(what+", CPU against plain lines", toPlain, goalHashed, "%.2f")
			}
			if c != g.bare {
				times = fmt.Sprintf("%.2f", rel)
			}
			t.row(s.cells(c, g.n, times, verdict, peak)...)
		}
	}
	for _, c := range others {
		rel := median(c.results, totalCPU) / median(groups[0].bare.results, totalCPU)
		t.row(s.cells(c, 100, fmt.Sprintf("%.0f", rel), "", "")...)
	}
	t.print(s.out)
	first, last := groups[0], groups[len(groups)-1]
	fmt.Fprintln(s.out)
	s.growth(first.n, last.n, [][2]*contender{{first.bare, last.bare}, {first.stream, last.stream}, {first.run, last.run}})
	return nil
}

// growth prints how the CPU per host changes with the number of hosts. Each pair is a client with
// few hosts and with many. The first pair is the bare loop.
func (s *suite) growth(few, many int, pairs [][2]*contender) {
	for i, c := range pairs {
		growth := median(c[1].results, totalCPU) / float64(many) / (median(c[0].results, totalCPU) / float64(few))
		verdict := ""
		if i > 0 {
			verdict = ", " + s.goal(fmt.Sprintf("%s, CPU per host with %d hosts against %d", c[1].name, many, few), growth, goalGrowth, "%.2f")
		}
		fmt.Fprintf(s.out, "* %s, CPU per host with %d hosts against %d: %.2f%s\n", c[0].name, many, few, growth, verdict)
	}
}

// cells returns a row of the table of hosts.
func (s *suite) cells(c *contender, n int, times, verdict, peak string) []string {
	if len(c.results) == 0 {
		return []string{c.name, fmt.Sprint(n), "failed"}
	}
	return []string{
		c.name, fmt.Sprint(n), fmt.Sprintf("%.3f", median(c.results, totalCPU)*1000/float64(n)), times, verdict,
		fmt.Sprintf("%.2f", median(c.results, spent)), fmt.Sprintf("%.0f", median(c.results, peakMiB)), peak,
	}
}

// others runs the other tools that are installed, on 100 hosts.
func (s *suite) others(ctx context.Context) ([]*contender, error) {
	list, err := peers(s.dir, s.user, s.python, s.sim, s.sim.Hosts[:100])
	if err != nil {
		return nil, err
	}
	var all []*contender
	for _, p := range list {
		all = append(all, &contender{name: p.name, run: p.run})
	}
	return all, s.compete(ctx, s.rounds(1, 3), all...)
}

// idle holds connections open.
func (s *suite) idle(ctx context.Context) error {
	hosts := s.sim.Hosts
	bareJob, ourJob := s.job("bare", "idle", s.sim, hosts), s.job("run", "idle", s.sim, hosts)
	bareJob.Hold, ourJob.Hold = 2*time.Second, 2*time.Second
	bare, ours := s.contend("bare", bareJob, 0), s.contend("fleetssh", ourJob, 0)
	if err := s.compete(ctx, s.rounds(3, 3), bare, ours); err != nil {
		return err
	}
	t := newTable(fmt.Sprintf("%d connections held open", len(hosts)),
		"client", "KiB each", "stacks", "heap", "× bare", "goal", "cores, idle", "cores, keep-alives", "goal", "peak MiB")
	cores := median(ours.results, idle)
	probed := "not measured"
	if s.long {
		// Long enough for a keep-alive on each connection.
		j := *ourJob
		j.Hold = keepAliveWindow
		long := s.contend("fleetssh", &j, 0)
		if err := s.compete(ctx, 1, long); err != nil {
			return err
		}
		if len(long.results) > 0 {
			cores = median(long.results, idle)
			probed = fmt.Sprintf("%.4f", cores)
		}
	}
	t.row("bare", fmt.Sprintf("%.1f", median(bare.results, rssKiB)), fmt.Sprintf("%.1f", median(bare.results, stackKiB)),
		fmt.Sprintf("%.1f", median(bare.results, heapKiB)), "", "", fmt.Sprintf("%.4f", median(bare.results, idle)), "", "",
		fmt.Sprintf("%.0f", median(bare.results, peakMiB)))
	each := median(ours.results, rssKiB)
	t.row("fleetssh", fmt.Sprintf("%.1f", each), fmt.Sprintf("%.1f", median(ours.results, stackKiB)),
		fmt.Sprintf("%.1f", median(ours.results, heapKiB)), times(ratio(ours.results, bare.results, rssKiB)),
		s.goal("idle connection, KiB", each, goalConnection, "%.0f"), fmt.Sprintf("%.4f", median(ours.results, idle)), probed,
		s.goal("idle connections, cores", cores, goalIdle, "%.2f"), fmt.Sprintf("%.0f", median(ours.results, peakMiB)))
	t.print(s.out)
	return nil
}

// output reads much output from a real sshd.
func (s *suite) output(ctx context.Context) error {
	sshd, err := startServer(ctx, "-role", "sshd", "-dir", s.dir)
	if err != nil {
		fmt.Fprintln(s.out, "\nOutput skipped:", err)
		return nil
	}
	defer sshd.close()
	total := int64(256 << 20)
	many := 50
	if s.long {
		total, many = 1<<30, 200
	}
	hosts := make([]string, many)
	for i := range hosts {
		hosts[i] = sshd.Hosts[i%len(sshd.Hosts)]
	}
	const each = 5 << 20
	for _, c := range []struct {
		title  string
		hosts  []string
		bytes  int64
		rounds int // with LONG=1
	}{
		{fmt.Sprintf("%d MiB from one sshd", total>>20), hosts[:1], total, 5},
		{fmt.Sprintf("%d × 5 MiB from sshd, 100 at once", many), hosts, each, 3},
	} {
		contend := func(name, client string) *contender {
			j := s.job(client, "hosts", sshd, c.hosts)
			if way, ok := strings.CutPrefix(client, limited); ok {
				j.Client, j.Limit = way, memoryLimit
			}
			j.Line = fmt.Sprintf("yes %s | head -c %d", line63, c.bytes)
			return s.contend(name, j, c.bytes*int64(len(c.hosts)))
		}
		bare, lines := contend("bare", "bare"), contend("bare, line by line", bareLines)
		ours, stream := contend("fleetssh, io.Copy", "copy"), contend("fleetssh, Stream, line by line", "stream")
		ours2, stream2 := contend("the same with a memory limit", limited+"copy"), contend("the same with a memory limit", limited+"stream")
		all := []*contender{bare, ours, ours2, lines, stream, stream2}
		if err := s.compete(ctx, s.rounds(3, c.rounds), all...); err != nil {
			return err
		}
		t := newTable(c.title, "client", "CPU s", "× bare", "× bare, line by line", "goal", "wall s", "peak MiB", "goal")
		for _, k := range all {
			if len(k.results) == 0 {
				t.row(k.name, "failed")
				continue
			}
			rel, peak := ratio(k.results, bare.results, totalCPU), median(k.results, peakMiB)
			toLines := ratio(k.results, lines.results, totalCPU)
			cells := []string{k.name, fmt.Sprintf("%.2f", median(k.results, totalCPU)), "", "", "",
				fmt.Sprintf("%.2f", median(k.results, spent)), fmt.Sprintf("%.0f", peak), ""}
			if k != bare {
				cells[2] = times(rel)
			}
			what := c.title + ", " + k.name
			switch k {
			case ours, ours2:
				cells[4] = s.goal(what+", CPU against bare", rel, goalOutput, "%.2f")
			case stream, stream2:
				cells[3] = times(toLines)
				cells[4] = s.goal(what+", CPU against bare, line by line", toLines, goalOutput, "%.2f")
			}
			if k == ours2 || k == stream2 {
				cells[7] = s.goal(what+", peak MiB", peak, goalPeak, "%.0f")
			}
			t.row(cells...)
		}
		t.print(s.out)
	}
	return nil
}

// limited is the prefix of a job.Client for a process with a memory limit like the command's. The
// library leaves the memory limit to the program.
const (
	limited     = "limited "
	memoryLimit = 54 << 20
)

// line63 is every line of the output: 64 bytes with the line end.
const line63 = "012345678901234567890123456789012345678901234567890123456789012"

// commands runs commands on open connections.
func (s *suite) commands(ctx context.Context) error {
	// Many short rounds: on one connection, the figure mostly depends on how fast threads wake up,
	// and so on what else the machine does.
	const total = 2000
	t := newTable(fmt.Sprintf("%d commands on open connections, one after another on each", total),
		"client", "connections", "CPU µs/command", "× bare", "goal", "commands/s")
	for _, n := range []int{1, 100} {
		contend := func(name, client string) *contender {
			j := s.job(client, "commands", s.sim, s.sim.Hosts[:n])
			j.Repeat = total / n
			return s.contend(name, j, 0)
		}
		bare := contend("bare", "bare")
		all := []*contender{bare, contend("fleetssh, Client.RunCommand", "copy"), contend("fleetssh, ParallelClient.RunCommand and Join", "run")}
		if err := s.compete(ctx, s.rounds(9, 15), all...); err != nil {
			return err
		}
		for _, c := range all {
			if len(c.results) == 0 {
				t.row(c.name, fmt.Sprint(n), "failed")
				continue
			}
			rel, verdict := "", ""
			if c != bare {
				r := ratio(c.results, bare.results, phaseCPU)
				rel = times(r)
				verdict = s.goal(fmt.Sprintf("commands, %d connections, %s, CPU against bare", n, c.name), r, goalCommands, "%.2f")
			}
			t.row(c.name, fmt.Sprint(n), fmt.Sprintf("%.1f", median(c.results, phaseCPU)*1e6/float64(total)), rel, verdict,
				fmt.Sprintf("%.0f", float64(total)/median(c.results, wall)))
		}
	}
	t.print(s.out)
	return nil
}

// delay runs a command on 100 hosts with added delay.
func (s *suite) delay(ctx context.Context) error {
	t := newTable("`true` on 100 hosts, all at once, with delay", "client", "delay ms", "wall s", "× bare", "goal")
	for _, latency := range []time.Duration{20 * time.Millisecond, 100 * time.Millisecond} {
		if err := s.delayed(ctx, t, latency, "", s.job); err != nil {
			return err
		}
	}
	t.print(s.out)
	return nil
}

// delayed runs a command on 100 hosts with added delay, and adds the wall times to the table. where
// is the prefix of the goals in the list of missed goals.
func (s *suite) delayed(ctx context.Context, t *table, latency time.Duration, where string, job jobber) error {
	far, err := s.startSim(ctx, 100, latency)
	if err != nil {
		return err
	}
	defer far.close()
	bare := s.contend("bare", job("bare", "hosts", far, far.Hosts), 0)
	all := []*contender{
		bare,
		s.contend("fleetssh, Stream", job("stream", "hosts", far, far.Hosts), 0),
		s.contend("fleetssh, RunCommand and Join", job("run", "hosts", far, far.Hosts), 0),
	}
	if err := s.compete(ctx, s.rounds(5, 9), all...); err != nil {
		return err
	}
	for _, c := range all {
		rel, verdict := "", ""
		if c != bare {
			r := ratio(c.results, bare.results, wall)
			rel = times(r)
			verdict = s.goal(fmt.Sprintf("%swall time with %v, %s", where, latency, c.name), r, goalDelay, "%.2f")
		}
		t.row(c.name, fmt.Sprint(latency.Milliseconds()), fmt.Sprintf("%.3f", median(c.results, wall)), rel, verdict)
	}
	return nil
}
