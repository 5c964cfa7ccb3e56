package sshconfig

import (
	"cmp"
	"slices"
	"strings"
)

// review returns what is in effect for a host and has no effect here, or not all of
// it.
func (s *Settings) review() []Unsupported {
	var notes []Unsupported
	note := func(l *line, why string) { notes = append(notes, l.unsupported(why)) }
	for _, got := range s.got {
		for _, l := range got {
			args, _ := splitWords(l.text)
			if l.key.lost(args) && !s.idle(l.key) {
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
		{keyProxyCommand, s.reviewGate},
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

// noAgentToForward is why commands go on without, as with ssh.
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

// idle reports whether another keyword takes the effect of one away.
func (s *Settings) idle(k *keyword) bool {
	switch k.name {
	case "LocalCommand":
		return s.one(keyPermitLocal) != "yes"
	case "DynamicForward", "LocalForward", "RemoteForward":
		return s.one(keyClearForwardings) == "yes"
	}
	return false
}

// reviewGate is about an ssh that is not started.
func (s *Settings) reviewGate(l *line) string {
	g, ok := parseGate(l.values[0], &tokens{alias: s.Alias, host: s.HostName, user: s.User, port: s.Port})
	if !ok || s.one(keyProxyUseFdpass) == "yes" {
		return ""
	}
	return "means the hop " + g.host + ": one connection to it for all hosts, and no ssh for each"
}

// reviewPreferred is about an order other than that of fleetssh.
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
		return "none of the methods is one of fleetssh"
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
