package main

import (
	"context"
	"fmt"
	"regexp"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/display"
	"fleetssh/cmd/fleetssh/internal/selection"
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

// sudoPrompt is the random text by which the library recognizes the question of sudo. Each host has one of
// its own, which would set its line apart.
var sudoPrompt = regexp.MustCompile(`\b[A-Z2-7]{26}%%[A-Z2-7]{25}\b`)

// showPlan shows what each host would be sent, batch by batch.
func (r *runner) showPlan(sizes []int) error {
	return showLines(display.Plan{Screen: r.c.screen, Hosts: r.hosts, Sizes: sizes, Verbose: r.o.verbose}, r.planLine)
}

// showLines shows the command line of each host.
func showLines(plan display.Plan, lineOf func(i int) (string, error)) error {
	different, err := plan.Show(func(i int) (string, error) {
		line, err := lineOf(i)
		if !plan.Verbose && len(plan.Hosts) > 1 {
			line = sudoPrompt.ReplaceAllString(line, "RANDOM")
		}
		return line, selection.UsageError(err, plan.Hosts[i:i+1])
	})
	if err != nil {
		return err
	}
	text := "the same command line"
	if different > 1 {
		text = fmt.Sprint(different, " different command lines")
	}
	plan.Total(text)
	return nil
}

// planLine returns what host number i would be sent.
func (r *runner) planLine(i int) (string, error) {
	one := r.command
	if one.HostArgs != nil {
		one.HostArgs = one.HostArgs[i : i+1]
	}
	switch {
	case r.script != nil:
		return r.script.CommandLine(one, 0)
	case one.LoginShell:
		return r.title, nil
	}
	return one.CommandLine(0)
}
