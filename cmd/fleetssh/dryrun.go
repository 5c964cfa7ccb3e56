package main

import (
	"bufio"
	"context"
	"fmt"
	"strings"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/results"
	"fleetssh/cmd/fleetssh/internal/selection"
	"fleetssh/cmd/fleetssh/internal/termline"
)

// validate lets the library check the command for all hosts before any is contacted. Otherwise a mistake
// in a later batch would be found only after earlier batches have run.
func (r *runner) validate() error {
	if _, err := r.command.CommandLine(0); err != nil {
		return selection.UsageError(err, r.hosts)
	}
	if err := r.safety.checkGate(r.hosts, r.command.HostArgs); err != nil {
		return err
	}
	return validateHosts(r.hosts)
}

// validateHosts checks the settings of hosts without contacting them.
func validateHosts(hosts []selection.Host) error {
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	client := &fleetssh.ParallelClient{Hosts: selection.Configs(hosts)}
	defer client.Close()
	err := client.Connect(ended)
	if _, wrong := err.(*fleetssh.ConfigError); wrong {
		return selection.UsageError(err, hosts)
	}
	return nil // the error is that the context has ended
}

// maxPlanLines is up to how many hosts --dry-run shows one line each. With more, hosts with equal lines
// share one.
const maxPlanLines = 100

// showPlan shows what would be done on each host, batch by batch.
func showPlan(screen *termline.Screen, hosts []selection.Host, sizes []int, plan func(i int) (string, error)) error {
	i := 0
	for n, size := range sizes {
		if len(sizes) > 1 {
			screen.Message(fmt.Sprintf("batch %d of %d: %s", n+1, len(sizes), selection.CountHosts(size)))
		}
		var labels []string // of hosts with the text before
		before := ""
		for end := i + size; i < end; i++ {
			text, err := plan(i)
			if err != nil {
				return err
			}
			if text != before || len(hosts) <= maxPlanLines {
				showPlanLines(screen, labels, before)
				labels, before = nil, text
			}
			labels = append(labels, hosts[i].Label)
		}
		showPlanLines(screen, labels, before)
	}
	return nil
}

// showPlanLines shows a text after the hosts that share it.
func showPlanLines(screen *termline.Screen, labels []string, text string) {
	if len(labels) == 0 {
		return
	}
	prefix := screen.Paint(termline.Label, results.CountedNames(labels)) + ": "
	scanner := bufio.NewScanner(strings.NewReader(text))
	scanner.Buffer(nil, len(text)+1)
	for scanner.Scan() {
		screen.Out(prefix, scanner.Text())
	}
}

// showPlan shows what each host would be sent, batch by batch.
func (r *runner) showPlan(sizes []int) error {
	return showPlan(r.c.screen, r.hosts, sizes, func(i int) (string, error) {
		line, err := r.planLine(i)
		return line, selection.UsageError(err, r.hosts[i:i+1])
	})
}

// planLine returns what host number i would be sent.
func (r *runner) planLine(i int) (string, error) {
	one := r.command
	if one.HostArgs != nil {
		one.HostArgs = one.HostArgs[i : i+1]
	}
	switch {
	case r.script != nil:
		return r.script.commandLine(one, 0)
	case one.LoginShell:
		return r.title, nil
	}
	return one.CommandLine(0)
}
