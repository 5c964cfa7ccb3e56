package display

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"fleetssh/cmd/fleetssh/internal/fold"
	"fleetssh/cmd/fleetssh/internal/results"
	"fleetssh/cmd/fleetssh/internal/termline"
	"fleetssh/hostset"
)

const (
	// maxBanners is the largest number of different banners that are shown while logins wait.
	maxBanners = 20

	// bannerDelay is how long to wait for other hosts with the same banner: their logins started
	// at the same time.
	bannerDelay = 200 * time.Millisecond
)

// Banners shows the banners that hosts send while their logins wait. Hosts with the same banner share
// its lines, and no banner is shown twice.
type Banners struct {
	Screen *termline.Screen

	mu    sync.Mutex          // protects what follows
	texts []string            // not shown yet
	hosts map[string][]string // by text; nil for a text that was shown
	timer *time.Timer
	shown int // texts
}

// Add takes a text of a host. It is meant for [fleetssh.Auth.Tell].
func (b *Banners) Add(host, text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	hosts, known := b.hosts[text]
	switch {
	case known && hosts == nil, !known && b.shown+len(b.texts) > maxBanners:
		return
	case !known:
		if b.hosts == nil {
			b.hosts = make(map[string][]string)
		}
		b.texts = append(b.texts, text)
	}
	b.hosts[text] = append(hosts, host)
	if b.timer == nil {
		b.timer = time.AfterFunc(bannerDelay, b.Flush)
	}
}

// Flush shows the texts that have not been shown yet.
func (b *Banners) Flush() {
	for _, line := range b.pendingLines() { // without the lock: a question may block the screen
		b.Screen.Message(line)
	}
	b.Screen.Flush()
}

// pendingLines returns the lines to show.
func (b *Banners) pendingLines() (lines []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.timer != nil {
		b.timer.Stop()
		b.timer = nil
	}
	for _, text := range b.texts {
		if b.shown++; b.shown > maxBanners {
			lines = append(lines, "fleetssh: more hosts sent a banner while their logins wait: fleetssh check shows it")
			break
		}
		label := hostset.Of(b.hosts[text]...).String()
		for _, line := range results.BannerLines(text) {
			lines = append(lines, strings.TrimRight(label+": "+line, " "))
		}
		b.hosts[text] = nil
	}
	b.texts = nil
	return lines
}

// ShowBanners shows the banners of hosts that were logged in to, each text once.
func ShowBanners(screen *termline.Screen, t *results.Summary) {
	var banners fold.Texts[string]
	for i := range t.Results {
		r := &t.Results[i]
		for k := range r.Logins {
			label := t.Hosts[r.Index].Label
			if k < len(r.Logins)-1 {
				label = r.Logins[k].Host.String()
			}
			if text := r.Logins[k].Banner; text != "" {
				banners.Add(text, label)
			}
		}
	}
	shown := 0
	for text, hosts := range banners.All() {
		if shown == maxBanners {
			screen.Out("", fmt.Sprintf("%d other banners: --format json shows them", banners.Len()-shown))
			break
		}
		shown++
		screen.Out("", "banner of "+hostset.Of(hosts...).String()+":")
		for _, line := range results.BannerLines(text) {
			screen.Out("", strings.TrimRight("  "+line, " "))
		}
	}
}
