// Package explain shows how hosts would be reached and logged in to. Hosts that are reached in the same
// way share one explanation.
package explain

import (
	"cmp"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/selection"
	"fleetssh/cmd/fleetssh/internal/settings"
	"fleetssh/cmd/fleetssh/internal/termline"
)

// Origins tells where settings come from.
type Origins struct {
	Login    string             // the value of -l
	Port     int                // the value of -p
	Settings *settings.Defaults // flags that the user's file has set
}

// line is a line of an explanation. Hosts are explained together if their keys are equal, so a key lacks
// what differs between any two hosts: names, addresses, host keys, and line numbers in files.
type line struct{ text, key string }

// explanation is the lines about a host and its hops.
type explanation struct {
	label string
	lines []line
}

// explain returns the explanation of a host: its plans, as [fleetssh.Explain] returns them, and the lines
// of ssh_config about it.
func (o *Origins) explain(label string, plans []fleetssh.Plan, config []selection.ConfigLine) explanation {
	e := explanation{label: label}
	host := &plans[len(plans)-1].Host
	own := nameMask(label, host.Host, host.Alias)
	add := func(own func(string) string, format string, args ...any) {
		text := fmt.Sprintf(format, args...)
		e.lines = append(e.lines, line{text, lineNumber.ReplaceAllString(own(text), ":N$1")})
	}
	for n := range plans {
		o.addPlan(add, own, &plans[n], len(plans)-1-n, config)
	}
	title := "ssh config"
	for _, l := range config {
		mark, why := "", l.Origin
		if l.Passed {
			mark, why = "- ", l.Origin+": "+l.Why
		}
		mask := own
		if l.Keyword == "HostName" {
			mask = func(string) string { return title + l.Keyword + " (" + why + ")" }
		}
		add(mask, "%s", termline.Visible(fmt.Sprintf("  %-10s %s%s %s  (%s)", title, mark, l.Keyword, l.Value, why)))
		title = ""
	}
	return e
}

// lineNumber matches the number of a line of a file, as in "(known_hosts:12)".
var lineNumber = regexp.MustCompile(`:[0-9]+([):])`)

// fingerprint matches the fingerprint of a key.
var fingerprint = regexp.MustCompile(`SHA256:[A-Za-z0-9+/]+`)

// nameMask returns a function that replaces the names of a host, as whole words.
func nameMask(names ...string) func(string) string {
	var quoted []string
	for _, name := range names {
		if name != "" {
			quoted = append(quoted, regexp.QuoteMeta(name))
		}
	}
	if quoted == nil {
		return func(text string) string { return text }
	}
	name := regexp.MustCompile(`(^|[^A-Za-z0-9._-])(?:` + strings.Join(quoted, "|") + `)($|[^A-Za-z0-9._-])`)
	return func(text string) string { return name.ReplaceAllString(text, "${1}HOST${2}") }
}

// phaseTitles are the titles of the phases.
var phaseTitles = map[fleetssh.Phase]string{fleetssh.PhaseConnect: "reach", fleetssh.PhaseHostKey: "host key", fleetssh.PhaseAuth: "log in"}

// addPlan adds the plan for one hop or host; after is how many follow it on the route.
func (o *Origins) addPlan(add func(mask func(string) string, format string, args ...any), own func(string) string, p *fleetssh.Plan, after int, config []selection.ConfigLine) {
	title := p.Host.Host
	if p.Host.Alias != "" {
		title = p.Host.Alias + "  at " + title
	}
	if after > 0 {
		title += "  (hop)"
	}
	add(own, "%s", title)
	add(own, "  %-10s %s  (%s)", "user", p.User, o.userFrom(p, after, config))
	add(own, "  %-10s %d  (%s)", "port", p.Port, o.portFrom(p, after, config))
	if after == 0 {
		title := "settings"
		for _, line := range o.Settings.Lines() {
			add(own, "  %-10s %s", title, line)
			title = ""
		}
	}
	phase := fleetssh.Phase("")
	for _, s := range p.Steps {
		name := ""
		if s.Phase != phase {
			phase, name = s.Phase, phaseTitles[s.Phase]
		}
		mark := ""
		if s.Passed {
			mark = "- "
		}
		text := fmt.Sprintf("  %-10s %s%s", name, mark, s.What)
		if s.Why != "" {
			text += "  (" + s.Why + ")"
		}
		mask := own
		if s.Phase == fleetssh.PhaseHostKey && after == 0 {
			mask = func(text string) string { return fingerprint.ReplaceAllString(own(text), "SHA256:") }
		}
		add(mask, "%s", text)
	}
}

// userFrom returns where the user name comes from.
func (o *Origins) userFrom(p *fleetssh.Plan, after int, config []selection.ConfigLine) string {
	switch {
	case p.Host.User == "":
		return "the user who runs fleetssh"
	case after == 0 && p.Host.User == o.Login:
		return cmp.Or(o.Settings.Origin("login"), "-l")
	}
	return namedBy(after, config, "User", p.User)
}

// namedBy returns where a setting comes from that is neither a flag nor a default.
func namedBy(after int, config []selection.ConfigLine, keyword, value string) string {
	for _, l := range config {
		if after == 0 && l.Keyword == keyword && l.Value == value {
			return l.Origin
		}
	}
	if after > 0 {
		return "from -J or ssh_config"
	}
	return "given with the host"
}

// portFrom returns where the port comes from.
func (o *Origins) portFrom(p *fleetssh.Plan, after int, config []selection.ConfigLine) string {
	switch {
	case p.Host.Port == 0:
		return "default"
	case after == 0 && p.Host.Port == o.Port:
		return cmp.Or(o.Settings.Origin("port"), "-p")
	}
	return namedBy(after, config, "Port", strconv.Itoa(p.Port))
}
