package help

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// AddFlags adds --help to all verbs. It has no letter: pflag reports -h as [pflag.ErrHelp], which asks
// for the brief help.
func AddFlags(root *cobra.Command) {
	for _, cmd := range append(Verbs(root), root) {
		cmd.Flags().Bool("help", false, "show all options (-h: those that most people need)")
	}
}

// maxBrief is the height of a brief help, in lines: it fits a terminal of the usual size.
const maxBrief = 24

// briefFlags are the options that most people need, by verb.
var briefFlags = map[string]string{
	"run":          "hosts exclude inventory login identity jump sudo timeout script fold batch",
	"put":          "hosts recursive preserve delete sudo owner mode backup check diff batch",
	"get":          "hosts recursive preserve resume verify login jump timeout",
	"shell":        "hosts exclude inventory login jump fold",
	"tunnel":       "hosts local remote dynamic each serve jump",
	"check":        "hosts inventory login identity jump connect-timeout format",
	"wait":         "hosts inventory login jump command gone every timeout",
	"reboot":       "hosts inventory login sudo command batch gate max-fail timeout yes dry-run",
	"trust scan":   "hosts jump save known-hosts format",
	"trust accept": "hosts jump fingerprints replace yes known-hosts",
	"hosts":        "hosts exclude group inventory where limit fold count split groups",
	"explain":      "hosts inventory login jump ssh-config format",
	"runs":         "number format",
	"runs show":    "output fold verbose report",
	"rerun":        "failed all unreachable timed-out skipped include-unknown dry-run",
	"sim":          "hosts names latency fail fault dir",
	"dshbak":       "coalesce directory",
}

// briefTexts are the texts of options whose help takes more than a line, by flag, or by verb and flag.
var briefTexts = map[string]string{
	"hosts":                     "hosts: web[01-20] a,b a!b @group web* @last:failed",
	"sim hosts":                 "number of hosts (10), with the names sim1 and up",
	"inventory":                 "hosts and groups of Ansible or ClusterShell",
	"fold":                      "identical output once, below the set of its hosts",
	"hosts fold":                "one expression, as short as possible",
	"runs show fold":            "the output, folded into numbered blocks",
	"format":                    "json: one object per line (see fleetssh help formats)",
	"ssh-config":                "configuration of ssh; none: read no file",
	"run script":                "run a local script, which may have any interpreter",
	"resume":                    "continue files that an earlier copy left incomplete",
	"every":                     "least time between two logins on a host (5s)",
	"gate":                      "run COMMAND on each batch, and stop if it fails",
	"reboot command":            "reboot with LINE",
	"put check":                 "copy nothing; show what differs (exit code 5)",
	"put diff":                  "with --check: show what the copy would change",
	"put delete":                "with -r: delete there what the source does not have",
	"put sudo":                  "install the files as root, complete and in one step",
	"rerun include-unknown":     "also hosts where the command may have run",
	"trust accept fingerprints": "only keys with a fingerprint in FILE",
	"connect-timeout":           "limit for connecting and logging in (30s)",
	"local":                     "listen here and connect from the host",
	"remote":                    "listen on all hosts and connect from here",
	"dynamic":                   "a SOCKS proxy here that connects from the host",
	"each":                      "a port here for every host, to its localhost: 9100",
	"serve":                     "one proxy here, SOCKS and HTTP, into all hosts",
}

// Brief returns the help of a verb on one screen: the usage, the options that most people need, and
// examples.
func Brief(cmd *cobra.Command) string {
	help := Parse(cmd.Long)
	_, name, _ := strings.Cut(cmd.CommandPath(), " ")
	if cmd.Hidden {
		return cmd.Long
	}
	lines := []string{help.Summary() + "."}
	for i, line := range help.Usage() {
		start := "usage: "
		if i == 0 {
			lines = append(lines, "")
		} else {
			start = "       "
		}
		lines = append(lines, start+line)
	}
	rows := help.brief(name, strings.Fields(briefFlags[name]))
	if cmd.HasSubCommands() && len(rows) == 0 {
		rows = help.words()
	}
	if len(rows) > 0 {
		lines = append(append(lines, ""), rows...)
	}
	last := cmd.CommandPath() + " --help shows everything; fleetssh help lists verbs and topics."
	var examples []string
	for _, p := range help {
		if p.kind == example {
			examples = append(examples, p.lines...)
		}
	}
	room := maxBrief - len(lines) - 3 // two empty lines and the last one
	if examples = examples[:min(len(examples), room)]; len(examples) > 0 {
		lines = append(lines, "")
		for _, line := range examples {
			lines = append(lines, "  "+line)
		}
	}
	return strings.Join(append(lines, "", last), "\n") + "\n"
}

// brief returns the rows of some flags of a verb, a line each.
func (h Parts) brief(verb string, flags []string) []string {
	var rows []string
	for _, name := range flags {
		for _, p := range h {
			if p.kind == row && namesFlag(p.term, name) {
				term := p.term
				if strings.HasPrefix(term, "--") {
					term = "    " + term
				}
				text := cmp.Or(briefTexts[verb+" "+name], briefTexts[name], shorten(p.lines))
				rows = append(rows, fmt.Sprintf("  %-25s %s", term, text))
				break
			}
		}
	}
	return rows
}

// UnknownBriefFlags returns the options in briefFlags that a verb does not have, and the verbs in it that
// do not exist.
func UnknownBriefFlags(root *cobra.Command) map[string]string {
	unknown := make(map[string]string)
	for verb, flags := range briefFlags {
		cmd, _, err := root.Find(strings.Fields(verb))
		if err != nil || cmd == root {
			unknown[verb] = "at all: the verb is unknown"
			continue
		}
		help := Parse(cmd.Long)
		for flag := range strings.FieldsSeq(flags) {
			if cmd.Flags().Lookup(flag) == nil || len(help.brief(verb, []string{flag})) != 1 {
				unknown[verb] = "--" + flag
			}
		}
	}
	return unknown
}

// words returns the rows of a verb that stand for verbs below it.
func (h Parts) words() []string {
	var rows []string
	for _, p := range h {
		if p.kind == row && !isOption(p.term) {
			rows = append(rows, fmt.Sprintf("  %-25s %s", p.term, shorten(p.lines)))
		}
	}
	return rows
}

// namesFlag reports whether the term of a row is about a flag.
func namesFlag(term, name string) bool {
	for word := range strings.FieldsSeq(term) {
		if strings.TrimSuffix(word, ",") == "--"+name {
			return true
		}
	}
	return false
}
