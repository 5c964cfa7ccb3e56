package main

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"fleetssh/cmd/fleetssh/internal/termline"
	"fleetssh/hostset"
)

const (
	// mostTold is how many different texts of hosts are shown while their logins wait.
	mostTold = 20

	// toldDelay is how long to look for other hosts that say the same: their logins began
	// at the same time.
	toldDelay = 200 * time.Millisecond

	// mostBannerLines is how many lines of one are shown.
	mostBannerLines = 20
)

// banners shows what hosts say while their logins wait: a line behind its hosts, those that
// say the same together, and nothing twice.
type banners struct {
	screen *termline.Screen

	mu    sync.Mutex          // protects what follows
	texts []string            // to be shown
	hosts map[string][]string // by text; nil for one that was shown
	timer *time.Timer
	shown int // texts
}

// tell takes what a host says. It is [fleetssh.Auth.Tell].
func (b *banners) tell(host, text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	hosts, known := b.hosts[text]
	switch {
	case known && hosts == nil, !known && b.shown+len(b.texts) > mostTold:
		return
	case !known:
		if b.hosts == nil {
			b.hosts = make(map[string][]string)
		}
		b.texts = append(b.texts, text)
	}
	b.hosts[text] = append(hosts, host)
	if b.timer == nil {
		b.timer = time.AfterFunc(toldDelay, b.flush)
	}
}

// flush shows what was not shown yet.
func (b *banners) flush() {
	for _, line := range b.take() { // without the lock: somebody may be typing an answer
		b.screen.Message(line)
	}
	b.screen.Flush()
}

// take returns the lines to show.
func (b *banners) take() (lines []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.timer != nil {
		b.timer.Stop()
		b.timer = nil
	}
	for _, text := range b.texts {
		if b.shown++; b.shown > mostTold {
			lines = append(lines, "fleetssh: more hosts say something while their logins wait: fleetssh check shows it")
			break
		}
		b.hosts[text] = unique(b.hosts[text])
		label := hostset.Of(b.hosts[text]...).String()
		for _, line := range bannerLines(text) {
			lines = append(lines, strings.TrimRight(label+": "+line, " "))
		}
		b.hosts[text] = nil
	}
	b.texts = nil
	return lines
}

func unique(names []string) []string {
	slices.Sort(names)
	return slices.Compact(names)
}

// bannerLines returns the lines of a banner, as many as are shown.
func bannerLines(text string) []string {
	lines := strings.Split(text, "\n")
	if len(lines) > mostBannerLines {
		left := len(lines) - mostBannerLines
		lines = append(lines[:mostBannerLines:mostBannerLines], fmt.Sprintf("… (%d lines more)", left))
	}
	return lines
}

// showBanners shows what the hosts want to be read before a login, each text once.
func (t *tally) showBanners(screen *termline.Screen) {
	var texts []string
	hosts := make(map[string][]string)
	for i := range t.results {
		r := &t.results[i]
		for k := range r.logins {
			text, label := r.logins[k].Banner, t.hosts[r.index].Label
			if k < len(r.logins)-1 {
				label = r.logins[k].Host.String()
			}
			if text == "" {
				continue
			}
			if hosts[text] == nil {
				texts = append(texts, text)
			}
			hosts[text] = append(hosts[text], label)
		}
	}
	for i, text := range texts {
		if i == mostTold {
			screen.Out("", fmt.Sprintf("%d other banners: --format json shows them", len(texts)-i))
			break
		}
		screen.Out("", "banner of "+hostset.Of(unique(hosts[text])...).String()+":")
		for _, line := range bannerLines(text) {
			screen.Out("", strings.TrimRight("  "+line, " "))
		}
	}
}
