package selection

import (
	"fmt"
	"strconv"
	"strings"

	"fleetssh/cmd/fleetssh/internal/redact"
	"fleetssh/hostset"
	"fleetssh/internal/shellquote"
)

// TrustCommand returns the command line of fleetssh trust accept for hosts, with the flags that
// selected them. It contains no values that may be secrets. f may be nil.
func (f *Flags) TrustCommand(names []string) string {
	words := []string{"fleetssh", "trust", "accept"}
	add := func(flag, value string) {
		if value != "" {
			words = append(words, flag, shellquote.Quote(value))
		}
	}
	if f != nil {
		add("-F", f.Config)
		for _, option := range f.options {
			if redact.Option(option) == option {
				add("-o", option)
			}
		}
		add("--known-hosts", f.KnownHosts)
		if f.Port != 0 {
			add("-p", strconv.Itoa(f.Port))
		}
		add("-J", f.route.jump)
		for _, file := range f.Inventories {
			add("--inventory", file)
		}
		for _, file := range f.Hostfiles {
			add("--hostfile", file)
		}
	}
	return strings.Join(append(words, "-w", quotedSet(names)), " ")
}

// ReplaceHint returns the hint for hosts whose key has changed. from is the file of a scan; empty
// means that the hosts were scanned. f may be nil.
func (f *Flags) ReplaceHint(names []string, from string) string {
	command := f.TrustCommand(names)
	if from != "" {
		command = "fleetssh trust accept " + shellquote.Quote(from)
	}
	right := "if the new key is right"
	if len(names) > 1 {
		right = "if the new keys are right"
	}
	return fmt.Sprintf("this may be an attack: ask the administrator of the %s; %s, %s --replace %s", HostWord(names), right, command, quotedSet(names))
}

// HostWord returns "host" for one name, and otherwise "hosts".
func HostWord(names []string) string {
	if len(names) == 1 {
		return "host"
	}
	return "hosts"
}

func quotedSet(names []string) string { return shellquote.Quote(hostset.Of(names...).String()) }
