package main

import (
	"fmt"
	"net"
	"strconv"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/exit"
	"fleetssh/cmd/fleetssh/internal/termline"
	"fleetssh/hostset"
)

// hostEntry is one host of a run.
type hostEntry struct {
	config fleetssh.HostConfig
	name   string // the alias, or the name as it was given, without user and port
	label  string // the name, with the port or the index where others share it

	ownConfig  bool       // the inventory names a configuration of ssh for it
	sudo       string     // the password of sudo that the inventory knows; empty: none
	sudoBroken error      // why it cannot be used
	given      string     // the name as it was given, with user and port
	known      place      // that its key is looked up in
	lookup     string     // a line of ssh_config that would have its key looked up elsewhere; or empty
	flags      *hostFlags // that it was named with
}

// excluded are hosts to leave out, by name.
type excluded map[string][]fleetssh.HostConfig

func exclusions(set hostset.Set) (excluded, error) {
	x := make(excluded)
	for name := range set.All() {
		h, err := fleetssh.ParseHost(name)
		if err != nil {
			return nil, exit.UsageError("", "%v", err)
		}
		x[h.Host] = append(x[h.Host], h)
	}
	return x, nil
}

// has reports whether a host is left out: user and port count where they were
// given.
func (x excluded) has(h *fleetssh.HostConfig) bool {
	for _, e := range x[h.Host] {
		if (e.User == "" || e.User == h.User) && (e.Port == 0 || e.Port == portOf(h)) {
			return true
		}
	}
	return false
}

func portOf(h *fleetssh.HostConfig) int {
	if h.Port == 0 {
		return 22
	}
	return h.Port
}

// setLabels gives every entry the shortest label that no other has.
func setLabels(entries []hostEntry) {
	byName := make(map[string]int)
	byAddress := make(map[string]int)
	address := func(e *hostEntry) string { return net.JoinHostPort(e.name, strconv.Itoa(portOf(&e.config))) }
	for i := range entries {
		byName[entries[i].name]++
		byAddress[address(&entries[i])]++
	}
	for i := range entries {
		e := &entries[i]
		label := e.name
		switch {
		case byName[label] == 1:
		case byAddress[address(e)] == 1:
			label = address(e)
		default:
			label = fmt.Sprintf("%s#%d", e.name, i)
		}
		e.label = termline.Visible(label)
	}
}

// configsOf returns the hosts as the library wants them.
func configsOf(entries []hostEntry) []fleetssh.HostConfig {
	configs := make([]fleetssh.HostConfig, len(entries))
	for i := range entries {
		configs[i] = entries[i].config
	}
	return configs
}

// foldNames writes names as a set.
func foldNames(names []string) string { return termline.Visible(hostset.Of(names...).String()) }

// countHosts says how many hosts.
func countHosts(n int) string {
	if n == 1 {
		return "1 host"
	}
	return fmt.Sprint(n, " hosts")
}
