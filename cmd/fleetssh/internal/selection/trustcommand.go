package selection

import (
	"fmt"
	"strconv"
	"strings"

	"fleetssh/cmd/fleetssh/internal/redact"
	"fleetssh/hostset"
	"fleetssh/internal/shellquote"
)

// TrustCommand returns the line that shows the keys of hosts and adds them, with the
// flags that say which hosts these are. Nothing that might be a secret is in it.
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

// ReplaceHint is for hosts whose key has changed. from is the file of a scan; empty: the
// hosts are asked.
func (f *Flags) ReplaceHint(names []string, from string) string {
	command := f.TrustCommand(names)
	if from != "" {
		command = "fleetssh trust accept " + shellquote.Quote(from)
	}
	right := "if the new key is right"
	if len(names) > 1 {
		right = "if the new keys are right"
	}
	return fmt.Sprintf("somebody may be in between: ask who runs the %s; %s, %s --replace %s", HostWord(names), right, command, quotedSet(names))
}

// HostWord is "host" or "hosts".
func HostWord(names []string) string {
	if len(names) == 1 {
		return "host"
	}
	return "hosts"
}

func quotedSet(names []string) string { return shellquote.Quote(hostset.Of(names...).String()) }
