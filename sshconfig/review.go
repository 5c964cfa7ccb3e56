package sshconfig

import (
	"cmp"
	"slices"
	"strings"
)

// review returns the lines that apply to a host and have no effect, or not their full effect.
func (s *Settings) review() []Unsupported {
	var notes []Unsupported
	note := func(l *line, why string) { notes = append(notes, l.unsupported(why)) }
	for _, got := range s.got {
		for _, l := range got {
			args, _ := splitWords(l.text)
			if l.key.ineffective(args) && !s.overridden(l.key) {
				note(l, "")
			}
		}
	}
	for _, suite := range suites {
		if l := s.first(suite.key); l != nil {
			wanted, missing := suite.wanted(l.values[0])
			for _, name := range suite.unbuilt {
				if slices.Contains(wanted, name) {
					missing = append(missing, name)
				}
			}
			if len(missing) > 0 {
				note(l, "fleetssh has no "+strings.Join(missing, ", "))
				notes[len(notes)-1].Minor = true
			}
		}
	}
	for _, check := range []struct {
		key *keyword
		why func(*line) string
	}{
		{keyForwardAgent, s.reviewForwarding},
		{keyProxyCommand, s.reviewProxyCommand},
		{keyPreferred, s.reviewPreferred},
		{keyServerAliveCountMax, s.reviewCount},
		{keyStrict, s.reviewStrict},
	} {
		if l := s.first(check.key); l != nil {
			if why := check.why(l); why != "" {
				note(l, why)
				if check.key == keyStrict || check.key == keyProxyCommand {
					notes[len(notes)-1].Minor = true
				}
			}
		}
	}
	return notes
}

// noAgentToForward is the reason for a missing agent, without which commands run, as in ssh.
const noAgentToForward = "there is no SSH agent to forward"

func (s *Settings) reviewForwarding(*line) string {
	socket := s.forwarded()
	switch {
	case socket == "" && !slices.Contains([]string{"no", "false"}, strings.ToLower(s.one(keyForwardAgent))):
		return noAgentToForward
	case socket != "" && socket != s.agent():
		return "only the agent that logs in can be forwarded"
	}
	return ""
}

// overridden reports whether another keyword disables a keyword.
func (s *Settings) overridden(k *keyword) bool {
	switch k.name {
	case "LocalCommand":
		return s.one(keyPermitLocal) != "yes"
	case "DynamicForward", "LocalForward", "RemoteForward":
		return s.one(keyClearForwardings) == "yes"
	}
	return false
}

// reviewProxyCommand reports an ssh that is not started.
func (s *Settings) reviewProxyCommand(l *line) string {
	g, ok := parseSSHCommand(l.values[0], &tokens{alias: s.Alias, host: s.HostName, user: s.User, port: s.Port})
	if !ok || s.one(keyProxyUseFdpass) == "yes" {
		return ""
	}
	return "means the hop " + g.host + ": all hosts share one connection to it, without an ssh process for each"
}

// reviewPreferred reports an order other than that of fleetssh.
func (s *Settings) reviewPreferred(l *line) string {
	var ranks []int
	for method := range strings.SplitSeq(l.values[0], ",") {
		switch method {
		case methodGSSAPI:
			ranks = append(ranks, 0)
		case methodKey:
			ranks = append(ranks, 1)
		case methodKeyboard, methodPassword:
			ranks = append(ranks, 2)
		}
	}
	switch {
	case len(ranks) == 0:
		return "fleetssh has none of these methods"
	case !slices.IsSortedFunc(ranks, cmp.Compare[int]):
		return "the order is always Kerberos, keys, passwords"
	}
	return ""
}

func (s *Settings) reviewCount(l *line) string {
	if l.values[0] > "3" || len(l.values[0]) > 1 {
		return "a host that is silent for four times ServerAliveInterval is given up"
	}
	return ""
}

func (s *Settings) reviewStrict(l *line) string {
	if l.values[0] == "no" {
		return "a changed host key is refused, as with accept-new"
	}
	return ""
}
