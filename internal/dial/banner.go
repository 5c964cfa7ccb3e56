package dial

import (
	"strings"
	"sync"
	"time"

	"fleetssh/internal/sanitize"
)

const (
	// maxBanners limits how many banners of one host are kept, and maxBannerBytes how many
	// bytes of all of them together.
	maxBanners, maxBannerBytes = 16, 4 << 10

	// bannerWait is how long after a banner the user is shown it: a login that still lasts is
	// probably waiting for the user to follow the banner.
	bannerWait = time.Second

	// signInTimeout limits an attempt after the user was shown a banner, if ConnectTimeout is
	// not set: the user may be signing in with a browser. It is the default of sshd's
	// LoginGraceTime.
	signInTimeout = 2 * time.Minute
)

// banner collects the banners of a host (RFC 4252, section 5.4) and the instructions of
// keyboard-interactive requests without prompts (RFC 4256, section 3.2). It shows them to the
// user while the login waits.
type banner struct {
	tell  func(text string) // shows the user a text; or nil
	count int               // banners received; only the goroutine that logs in uses it

	running sync.WaitGroup // the timer

	mu    sync.Mutex // protects what follows
	text  string     // all banners, sanitized
	news  string     // the part that the user has not been shown yet
	timer *time.Timer
}

// lines returns at most limit bytes of text, sanitized, with its line ends.
func lines(text string, limit int) string {
	text = text[:min(len(text), 2*maxBannerBytes)] // more would not be kept anyway
	text = strings.ReplaceAll(text, "\r\n", "\n")
	text = strings.ReplaceAll(text, "\t", "    ")
	return sanitize.Lines(text, limit)
}

// add adds a banner, and starts the timer that shows it.
func (b *banner) add(text string) {
	if b.count++; b.count > maxBanners {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	left := maxBannerBytes - len(b.text)
	if left <= 0 {
		return
	}
	if text = lines(text, left); text == "" {
		return
	}
	b.text = join(b.text, text)
	if b.tell == nil {
		return
	}
	b.news = join(b.news, text)
	if b.timer == nil {
		b.running.Add(1)
		b.timer = time.AfterFunc(bannerWait, func() {
			defer b.running.Done()
			b.mu.Lock()
			b.timer = nil
			b.mu.Unlock()
			b.now()
		})
	}
}

func join(a, b string) string {
	if a == "" {
		return b
	}
	return a + "\n" + b
}

// now shows the user what has not been shown yet.
func (b *banner) now() {
	b.mu.Lock()
	news := b.news
	b.news = ""
	b.mu.Unlock()
	if news != "" {
		b.tell(news)
	}
}

// end returns the text of all banners, and shows no more of it: the login has ended.
func (b *banner) end() string {
	b.mu.Lock()
	if b.timer != nil && b.timer.Stop() {
		b.timer = nil
		b.running.Done()
	}
	b.news = ""
	b.mu.Unlock()
	b.running.Wait()
	return b.text
}
