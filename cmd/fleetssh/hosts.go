package main

import (
	"fmt"
	"net"
	"strconv"

	"fleetssh"
	"fleetssh/hostset"
	"fleetssh/internal/termline"
)

// hostEntry is one host of a run.
type hostEntry struct {
	config fleetssh.HostConfig
	name   string // the alias, or the name as it was given, without user and port
	label  string // the name, with the port or the index where others share it
}

// selectHosts returns the hosts of the expressions, in natural order. What a name
// does not say is taken from base.
func selectHosts(exprs, exclude []string, base fleetssh.HostConfig) ([]hostEntry, error) {
	names, err := parseSets("-w", exprs)
	if err != nil {
		return nil, err
	}
	without, err := parseSets("-x", exclude)
	if err != nil {
		return nil, err
	}
	left, err := exclusions(without)
	if err != nil {
		return nil, err
	}
	entries := make([]hostEntry, 0, names.Len())
	for name := range names.All() {
		given, err := fleetssh.ParseHost(name)
		if err != nil {
			return nil, usageError("", "%v", err)
		}
		config := base
		config.Host = given.Host
		if given.User != "" {
			config.User = given.User
		}
		if given.Port != 0 {
			config.Port = given.Port
		}
		if !left.has(&config) {
			entries = append(entries, hostEntry{config: config, name: given.Host})
		}
	}
	if len(entries) == 0 {
		hint := "name hosts with -w, as in -w web[1-20]"
		if names.Len() > 0 {
			hint = "-x leaves out everything that -w names"
		}
		return nil, usageError(hint, "no host selected")
	}
	setLabels(entries)
	return entries, nil
}

// parseSets returns the union of the expressions of a flag.
func parseSets(flag string, exprs []string) (hostset.Set, error) {
	var all hostset.Set
	for _, expr := range exprs {
		set, err := hostset.Parse(expr, nil)
		if err != nil {
			return all, usageError("", "%s: %v", flag, err)
		}
		all = all.Union(set)
	}
	return all, nil
}

// excluded are hosts to leave out, by name.
type excluded map[string][]fleetssh.HostConfig

func exclusions(set hostset.Set) (excluded, error) {
	x := make(excluded)
	for name := range set.All() {
		h, err := fleetssh.ParseHost(name)
		if err != nil {
			return nil, usageError("", "%v", err)
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
