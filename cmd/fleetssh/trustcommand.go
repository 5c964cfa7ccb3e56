package main

import (
	"fmt"
	"strconv"
	"strings"

	"fleetssh/cmd/fleetssh/internal/redact"
	"fleetssh/hostset"
	"fleetssh/internal/shellquote"
)

// trustCommand returns the line that shows the keys of hosts and adds them, with the
// flags that say which hosts these are. Nothing that might be a secret is in it.
func (f *hostFlags) trustCommand(names []string) string {
	words := []string{"fleetssh", "trust", "accept"}
	add := func(flag, value string) {
		if value != "" {
			words = append(words, flag, shellquote.Quote(value))
		}
	}
	if f != nil {
		add("-F", f.config)
		for _, option := range f.options {
			if redact.Option(option) == option {
				add("-o", option)
			}
		}
		add("--known-hosts", f.knownHosts)
		if f.port != 0 {
			add("-p", strconv.Itoa(f.port))
		}
		add("-J", f.way.jump)
		for _, file := range f.inventories {
			add("--inventory", file)
		}
		for _, file := range f.hostfiles {
			add("--hostfile", file)
		}
	}
	return strings.Join(append(words, "-w", quotedSet(names)), " ")
}

// replaceHint is for hosts whose key has changed. from is the file of a scan; empty: the
// hosts are asked.
func (f *hostFlags) replaceHint(names []string, from string) string {
	command := f.trustCommand(names)
	if from != "" {
		command = "fleetssh trust accept " + shellquote.Quote(from)
	}
	right := "if the new key is right"
	if len(names) > 1 {
		right = "if the new keys are right"
	}
	return fmt.Sprintf("somebody may be in between: ask who runs the %s; %s, %s --replace %s", hostWord(names), right, command, quotedSet(names))
}

func hostWord(names []string) string {
	if len(names) == 1 {
		return "host"
	}
	return "hosts"
}

func quotedSet(names []string) string { return shellquote.Quote(hostset.Of(names...).String()) }
