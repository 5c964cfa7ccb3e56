package report

import (
	"cmp"
	"fmt"
	"html/template"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"fleetssh/cmd/fleetssh/internal/termline"
)

// view is the input of the template: bounded, and sanitized beyond what escaping does.
type view struct {
	Policy string
	Style  template.CSS
	Script template.JS

	Run, Command  string
	Begun, Zone   string
	Machine       string // the time in RFC 3339
	Elapsed       time.Duration
	Notes         []string
	Count         int
	OK            int
	Failed        int
	Unclear       int
	Share         []share
	Groups        []Group
	Failures      []Group // the groups that are not well
	Variants      []variantView
	MoreVariants  int
	Silent        int // hosts that wrote nothing
	Rerun         string
	Batches       []Batch
	MoreBatches   int
	Gates         []Gate
	MoreGates     int
	Timeline      timeline
	Slowest       []hostView
	Hosts         []hostView
	MoreHosts     int
	HasOutput     bool
	TimelineShown bool
}

func newView(d Data) *view {
	v := &view{
		Policy: policy(), Style: template.CSS(style), Script: template.JS(script),
		Run: visible(d.Run, maxName), Command: visible(d.Command, 16<<10),
		Begun: d.Begun.Format("2006-01-02 15:04:05"), Zone: d.Begun.Format("MST"), Machine: d.Begun.Format(time.RFC3339),
		Elapsed: d.Elapsed, Count: len(d.Hosts),
	}
	for _, note := range d.Notes {
		v.Notes = append(v.Notes, visible(note, 1000))
	}
	for _, g := range d.Groups {
		g = g.visible()
		v.Groups = append(v.Groups, g)
		if g.Class != OK {
			v.Failures = append(v.Failures, g)
		}
	}
	hosts := make([]Host, len(d.Hosts))
	for i, h := range d.Hosts {
		hosts[i] = h.visible()
		switch h.Class {
		case OK:
			v.OK++
		case Failed:
			v.Failed++
		default:
			v.Unclear++
		}
	}
	v.Share = sharesOf(v.OK, v.Failed, v.Unclear)
	v.Variants, v.MoreVariants, v.Silent = variantsOf(d.Variants)
	v.HasOutput = len(v.Variants) > 0
	v.Rerun = visible(d.Rerun, 4<<10)
	v.Batches = d.Batches[:min(len(d.Batches), maxBatches)]
	v.MoreBatches = len(d.Batches) - len(v.Batches)
	v.Gates, v.MoreGates = gatesOf(d.Gates)
	v.Timeline = newTimeline(hosts, d.Elapsed)
	v.TimelineShown = v.Timeline.End > 0
	v.Slowest = slowestOf(hosts, d.Elapsed)
	shown, more := rows(hosts)
	v.MoreHosts = more
	for i := range shown {
		v.Hosts = append(v.Hosts, newHostView(&shown[i]))
	}
	return v
}

// share is the part of a class in the bar of all hosts, in percent.
type share struct {
	Class    Class
	X, Width string
}

func sharesOf(ok, failed, unclear int) []share {
	percent := func(n int) string { return fmt.Sprintf("%.4g", 100*float64(n)/float64(max(ok+failed+unclear, 1))) }
	return []share{
		{OK, "0", percent(ok)},
		{Failed, percent(ok), percent(failed)},
		{Unclear, percent(ok + failed), percent(unclear)},
	}
}

// rows returns the hosts that fit into the table. If not all do, failed ones come first.
func rows(hosts []Host) (shown []Host, more int) {
	if len(hosts) <= maxRows {
		return hosts, 0
	}
	hosts = slices.Clone(hosts)
	slices.SortStableFunc(hosts, func(a, b Host) int { return cmp.Compare(a.Class.rank(), b.Class.rank()) })
	return hosts[:maxRows], len(hosts) - maxRows
}

// rank orders classes by urgency.
func (c Class) rank() int { return slices.Index([]Class{Unclear, Failed, OK}, c) }

// Word returns the class in words.
func (c Class) Word() string {
	if c == Unclear {
		return "unknown or skipped"
	}
	return string(c)
}

func (g Group) visible() Group {
	g.Title, g.Hosts, g.Reason, g.Hint = visible(g.Title, maxName), visible(g.Hosts, maxSet), visible(g.Reason, 4<<10), visible(g.Hint, 4<<10)
	detail := make([]string, 0, len(g.Detail))
	for _, text := range g.Detail {
		detail = append(detail, visible(text, 4<<10))
	}
	g.Detail = detail
	said := make([]Stderr, 0, len(g.Stderr))
	for _, s := range g.Stderr {
		s.Hosts, s.Text = visible(s.Hosts, maxSet), visible(s.Text, maxStderr)
		said = append(said, s)
	}
	g.Stderr = said
	return g
}

// gatesOf returns the gates that fit, and the number of others.
func gatesOf(all []Gate) (shown []Gate, more int) {
	room := maxGateBytes
	for i := range all {
		g := all[i].visible()
		if room -= 100 + len(g.Command) + len(g.Failed) + len(g.Reason) + len(g.Output); room < 0 {
			return shown, len(all) - i
		}
		shown = append(shown, g)
	}
	return shown, 0
}

func (g Gate) visible() Gate {
	g.Command, g.Failed, g.Reason, g.Output = visible(g.Command, 4<<10), visible(g.Failed, maxSet), visible(g.Reason, 4<<10), visible(g.Output, maxStderr)
	return g
}

func (h Host) visible() Host {
	h.Label, h.Outcome, h.Message = visible(h.Label, maxName), visible(h.Outcome, maxName), visible(h.Message, maxMessage)
	h.From = max(h.From, 0)
	h.To = max(h.To, h.From)
	return h
}

// visible returns at most n bytes of a text, without characters that control a terminal, to which
// it may be copied, or change the direction of writing.
func visible(text string, n int) string {
	end := ""
	if len(text) > n {
		for n > 0 && !utf8.RuneStart(text[n]) {
			n--
		}
		text, end = text[:n], " …"
	}
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = termline.Visible(strings.TrimSuffix(line, "\r"))
	}
	return strings.Join(lines, "\n") + end
}
