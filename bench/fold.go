//go:build linux

package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
)

// The goals of folding. Time is wall time: hosts that write at different pace keep the
// client waiting, and what it folds meanwhile must not add to that.
const (
	foldHosts    = 3
	foldLines    = 300_000
	goalFold     = 3.0  // seconds
	goalFoldPeak = 64.0 // MiB
)

// pacedLines is a command line that writes equal lines on every host, a tenth at a
// time. The later the address of a host, the longer it waits between them.
func pacedLines(lines int) string {
	tenth := strconv.Itoa(lines / 10)
	return `set -- $SSH_CONNECTION; host=${3##*.}; at=0; while [ $at -lt ` + strconv.Itoa(lines) + ` ]; do ` +
		`seq $((at+1)) $((at+` + tenth + `)); at=$((at+` + tenth + `)); [ $host -eq 1 ] || sleep 0.0$((2*host)); done`
}

// fold folds the output of hosts that write the same at different pace, as the command
// does it. Printing it without folding is what it stands beside.
func (s *suite) fold(ctx context.Context) error {
	sshd, err := startServer(ctx, "-role", "sshd", "-dir", s.dir)
	if err != nil {
		fmt.Fprintln(s.out, "\nFolding: left out,", err)
		return nil
	}
	defer sshd.close()
	plain, err := commandLine(ctx, s.dir, s.user, sshd, sshd.Hosts[:foldHosts])
	if err != nil {
		fmt.Fprintln(s.out, "\nFolding: left out,", err)
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
	t := newTable(fmt.Sprintf("%d hosts that write the same %d lines at different pace", foldHosts, foldLines),
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
