package main

import (
	"context"
	"fmt"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/exit"
	"fleetssh/cmd/fleetssh/internal/selection"
)

// rehearse has the library check all that it checks before it contacts anybody, for all hosts:
// a batch by itself would be found wrong only when others had run.
func (r *runner) rehearse() error {
	if _, err := r.command.CommandLine(0); err != nil {
		return hostFault(err, r.hosts)
	}
	return rehearseHosts(r.hosts)
}

// rehearseHosts checks the settings of hosts. None is contacted.
func rehearseHosts(hosts []selection.Host) error {
	over, end := context.WithCancel(context.Background())
	end()
	client := &fleetssh.ParallelClient{Hosts: selection.Configs(hosts)}
	defer client.Close()
	err := client.Connect(over)
	if _, wrong := err.(*fleetssh.ConfigError); wrong {
		return hostFault(err, hosts)
	}
	return nil // that nobody was contacted
}

// hostFault is wrong usage that the library has found before it contacted anybody. It knows hosts
// by their index, and users do not.
func hostFault(err error, hosts []selection.Host) error {
	if err == nil {
		return nil
	}
	label := func(i int) string {
		if i < 0 || i >= len(hosts) {
			return ""
		}
		return hosts[i].Label
	}
	switch e := err.(type) {
	case *fleetssh.HostArgumentError:
		if name := label(e.Host); name != "" {
			text := name + ": "
			if e.Name != "" {
				text += fmt.Sprintf("placeholder %q: ", e.Name)
			}
			return exit.UsageError("", "%s%s", text, e.Reason)
		}
	case *fleetssh.ConfigError:
		if name := label(e.Host); name != "" {
			return exit.UsageError("", "%s: %s: %s", name, e.Field, e.Reason)
		}
	}
	return exit.UsageError("", "%v", err)
}
