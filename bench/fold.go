//go:build linux

package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
)

// The goals for folding. Time is wall time: the client waits for the slowest host, and folding in
// the meantime must not add to that.
const (
	foldHosts    = 3
	foldLines    = 300_000
	goalFold     = 3.0  // seconds
	goalFoldPeak = 64.0 // MiB
)

// pacedLines returns a command line that writes the same lines on every host, a tenth of them at a
// time. The higher the last byte of a host's address, the longer the host pauses after each tenth.
func pacedLines(lines int) string {
	tenth := strconv.Itoa(lines / 10)
	return `set -- $SSH_CONNECTION; host=${3##*.}; at=0; while [ $at -lt ` + strconv.Itoa(lines) + ` ]; do ` +
		`seq $((at+1)) $((at+` + tenth + `)); at=$((at+` + tenth + `)); [ $host -eq 1 ] || sleep 0.0$((2*host)); done`
}

// fold folds the output of hosts that write the same lines at different speeds, with the command.
// It is compared with printing the output without folding.
func (s *suite) fold(ctx context.Context) error {
	sshd, err := startServer(ctx, "-role", "sshd", "-dir", s.dir)
	if err != nil {
		fmt.Fprintln(s.out, "\nFolding skipped:", err)
		return nil
	}
	defer sshd.close()
	plain, err := commandLine(ctx, s.dir, s.user, sshd, sshd.Hosts[:foldHosts])
	if err != nil {
		fmt.Fprintln(s.out, "\nFolding skipped:", err)
		return nil
	}
	contend := func(name, flag string) *contender {
		p := *plain
		last := len(p.args) - 1
		p.args = append(append([]string{}, p.args[:last]...), flag, pacedLines(foldLines))
		return &contender{name: name, run: p.run}
	}
	all := []*contender{
		contend("fleetssh run", "--format=stream"),
		contend("fleetssh run -b", "--format=fold"),
		contend("fleetssh run --diff", "--diff"),
	}
	if err := s.compete(ctx, s.rounds(3, 5), all...); err != nil {
		return err
	}
	t := newTable(fmt.Sprintf("%d hosts that write the same %d lines at different speeds", foldHosts, foldLines),
		"client", "CPU s", "wall s", "goal", "peak MiB", "goal")
	for i, c := range all {
		if len(c.results) == 0 {
			t.row(c.name, "failed")
			continue
		}
		took, peak := median(c.results, spent), median(c.results, peakMiB)
		cells := []string{c.name, fmt.Sprintf("%.2f", median(c.results, totalCPU)), fmt.Sprintf("%.2f", took), "", fmt.Sprintf("%.0f", peak)}
		if i > 0 {
			what := strings.TrimPrefix(c.name, "fleetssh ")
			cells[3] = s.goal(what+", seconds", took, goalFold, "%.0f")
			cells = append(cells, s.goal(what+", peak MiB", peak, goalFoldPeak, "%.0f"))
		}
		t.row(cells...)
	}
	t.print(s.out)
	return nil
}
