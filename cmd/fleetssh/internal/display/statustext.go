package display

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/clipperhouse/displaywidth"

	"fleetssh/cmd/fleetssh/internal/results"
	"fleetssh/cmd/fleetssh/internal/selection"
	"fleetssh/cmd/fleetssh/internal/termline"
)

// statusText is what a status line says at one moment.
type statusText struct {
	verb  string // put or get; empty: the command is known
	hosts results.Snapshot

	amount string        // how much has been copied; empty: nothing is copied
	share  float64       // which part of the work is done, for the bar
	rate   string        // empty: not known yet
	left   time.Duration // the time that is left; zero: not known
}

const (
	// minRated is how many hosts must be done before the rate of a run means anything.
	minRated = 5

	// barWidth is how many columns a terminal must have for a bar, and minBarHosts how many hosts a
	// run: fewer are counted at a glance.
	barWidth, minBarHosts = 80, 4
	minBar, maxBar        = 10, 40

	// From longWidth columns beside the bar on, the text has its longest form, below shortWidth its
	// shortest. Few hosts have shorter texts.
	shortWidth, fewWidth, longWidth = 50, 60, 90
)

// newStatusText returns the text for a run that only counts hosts.
func newStatusText(verb string, t *results.Summary) statusText {
	s := statusText{verb: verb, hosts: t.Outstanding.Snapshot()}
	h := &s.hosts
	if h.Total > 0 {
		s.share = float64(h.Done) / float64(h.Total)
	}
	// The rate says when the last hosts begin. It says nothing about hosts that have all begun: they
	// may end at once, or never.
	if h.Done < minRated || h.Elapsed < time.Second || h.Waiting == 0 && h.Done+h.Skipped < h.Total {
		return s
	}
	perSecond := float64(h.Done) / h.Elapsed.Seconds()
	s.rate = rateText(perSecond)
	if h.Waiting > 0 {
		s.left = time.Duration(float64(h.Total-h.Done-h.Skipped) / perSecond * float64(time.Second))
	}
	return s
}

// rateText formats a number of hosts per second.
func rateText(perSecond float64) string {
	switch {
	case perSecond >= 10:
		return fmt.Sprintf("%.0f/s", perSecond)
	case perSecond >= 1:
		return fmt.Sprintf("%.1f/s", perSecond)
	case perSecond*60 >= 1:
		return fmt.Sprintf("%.0f/min", perSecond*60)
	}
	return fmt.Sprintf("%.0f/h", perSecond*3600)
}

// leftText formats the time that is left as roughly as it is known.
func leftText(left time.Duration) string {
	switch {
	case left >= time.Hour:
		left = left.Round(10 * time.Minute)
	case left >= 10*time.Minute:
		left = left.Round(time.Minute)
	case left >= time.Minute:
		left = left.Round(10 * time.Second)
	default:
		left = max(left.Round(time.Second), time.Second)
	}
	return results.ShortDuration(left)
}

// plain returns the text for a log.
func (s *statusText) plain() string {
	return joinWords(s.words(longWidth)) + afterColon(s.hosts.Stragglers(0))
}

// fit returns the text for a number of columns, zero if that is not known. Its form depends on the
// number and not on what the hosts do, so that the line does not jump. What does not fit is left out,
// the least important first.
func (s *statusText) fit(width int) []termline.Span {
	if width <= 0 {
		return []termline.Span{{Text: s.plain()}}
	}
	var line []termline.Span
	if width+1 >= barWidth && s.hosts.Total >= minBarHosts {
		cells := min(minBar+(width+1-barWidth)/4, maxBar)
		line = s.bar(cells)
		width -= cells + 1
	}
	words := s.words(width)
	for len(words) > 1 && wordsWidth(words) > width {
		words = withoutLeast(words)
	}
	words, names := s.withStragglers(words, width)
	for i, w := range words {
		if i > 0 {
			line = append(line, termline.Span{Text: ", "})
		}
		line = append(line, termline.Span{Style: w.style, Text: w.text})
	}
	return append(line, termline.Span{Text: names})
}

// withStragglers returns the names of the slowest hosts for the room that is left. When no other hosts
// are left, their names are worth more than some of the words.
func (s *statusText) withStragglers(words []word, width int) ([]word, string) {
	for less := words; ; less = withoutLeast(less) {
		room := width - wordsWidth(less) - len(": ")
		if room > 0 {
			if names := s.hosts.Stragglers(room); names != "" {
				return less, afterColon(names)
			}
		}
		if s.hosts.Waiting > 0 || leastWeight(less) >= weightSkipped {
			return words, ""
		}
	}
}

func afterColon(names string) string {
	if names != "" {
		return ": " + names
	}
	return ""
}

// word is a part of the text.
type word struct {
	text   string
	style  termline.Style
	weight int // words with less weight are left out first
}

// The weights of words.
const (
	weightRate = iota
	weightElapsed
	weightRunning
	weightSkipped
	weightBytesRate
	weightLeft
	weightAmount
	weightFailed
	weightDone
)

// words returns all parts of the text for a number of columns, in their order.
func (s *statusText) words(width int) []word {
	h := &s.hosts
	var words []word
	add := func(weight int, style termline.Style, text string) {
		words = append(words, word{text: text, style: style, weight: weight})
	}
	done, about := fmt.Sprintf("%d/%d", h.Done, h.Total), "~"
	switch {
	case width >= longWidth, width >= fewWidth && h.Total < minBarHosts:
		done, about = fmt.Sprintf("%d of %s done", h.Done, selection.CountHosts(h.Total)), "about "
	case width >= shortWidth:
		done += " done"
	}
	if s.verb != "" {
		done = s.verb + ": " + done
	}
	add(weightDone, termline.Plain, done)
	if h.Running > 0 {
		add(weightRunning, termline.Plain, fmt.Sprint(h.Running, " running"))
	}
	if h.Failed > 0 {
		add(weightFailed, termline.Failure, fmt.Sprint(h.Failed, " failed"))
	}
	if h.Skipped > 0 {
		add(weightSkipped, termline.Plain, fmt.Sprint(h.Skipped, " skipped"))
	}
	weightOfRate := weightRate
	if s.amount != "" {
		add(weightAmount, termline.Plain, s.amount)
		weightOfRate = weightBytesRate
	}
	if s.rate != "" {
		add(weightOfRate, termline.Plain, s.rate)
	}
	add(weightElapsed, termline.Plain, results.ShortDuration(h.Elapsed.Truncate(time.Second)))
	if s.left > 0 {
		add(weightLeft, termline.Plain, about+leftText(s.left)+" left")
	}
	return words
}

// leastWeight returns the weight of the least important word.
func leastWeight(words []word) int {
	least := weightDone
	for _, w := range words {
		least = min(least, w.weight)
	}
	return least
}

// withoutLeast returns the words without the least important one.
func withoutLeast(words []word) []word {
	least := leastWeight(words)
	return slices.DeleteFunc(slices.Clone(words), func(w word) bool { return w.weight == least })
}

func wordsWidth(words []word) int { return displaywidth.String(joinWords(words)) }

func joinWords(words []word) string {
	texts := make([]string, len(words))
	for i, w := range words {
		texts[i] = w.text
	}
	return strings.Join(texts, ", ")
}

// bar returns a bar with a number of cells and the space after it. The failed hosts are its end.
func (s *statusText) bar(cells int) []termline.Span {
	full, rest := "━", "─"
	if !speaksUTF8() {
		full, rest = "#", "-"
	}
	done := min(int(s.share*float64(cells)), cells)
	failed := 0
	if h := &s.hosts; h.Failed > 0 { // one cell at least: a single failure among thousands matters
		done = max(done, 1)
		failed = min(max(h.Failed*cells/h.Total, 1), done)
	}
	return []termline.Span{
		{Style: termline.Added, Text: strings.Repeat(full, done-failed)},
		{Style: termline.Failure, Text: strings.Repeat(full, failed)},
		{Style: termline.Faint, Text: strings.Repeat(rest, cells-done)},
		{Text: " "},
	}
}

// speaksUTF8 reports whether the locale says that the terminal shows UTF-8.
func speaksUTF8() bool {
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if value := strings.ToLower(os.Getenv(name)); value != "" {
			return strings.Contains(value, "utf-8") || strings.Contains(value, "utf8")
		}
	}
	return runtime.GOOS == "windows" || runtime.GOOS == "darwin"
}
