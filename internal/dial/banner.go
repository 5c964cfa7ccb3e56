package dial

import (
	"strings"
	"sync"
	"time"

	"fleetssh/internal/sanitize"
)

const (
	// mostBanners is how many banners of one host are read, and mostBanner how many bytes of
	// all of them are kept.
	mostBanners, mostBanner = 16, 4 << 10

	// bannerWait is how long a login has to last until it is taken to wait for what its
	// banner asks for.
	bannerWait = time.Second

	// signInTimeout is how long an attempt may take, if no time is set, once a banner was
	// told to the user: somebody signs in with a browser. It is sshd's LoginGraceTime.
	signInTimeout = 2 * time.Minute
)

// banner is what a host wants its users to read while they log in (RFC 4252, section 5.4; the
// information of RFC 4256, section 3.2). The user is told when the login waits.
type banner struct {
	tell  func(text string) // nil: nobody is told
	heard int               // how many there were; only the goroutine that logs in uses it

	running sync.WaitGroup // the timer

	mu    sync.Mutex // protects what follows
	text  string     // all of it, harmless
	news  string     // the part that has not been told yet
	timer *time.Timer
}

// lines returns at most so many bytes of text, harmless, with its line ends.
func lines(text string, most int) string {
	text = text[:min(len(text), 2*mostBanner)] // none of the rest could be kept
	text = strings.ReplaceAll(text, "\r\n", "\n")
	text = strings.ReplaceAll(text, "\t", "    ")
	return sanitize.Lines(text, most)
}

// add takes a banner.
func (b *banner) add(text string) {
	if b.heard++; b.heard > mostBanners {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	left := mostBanner - len(b.text)
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

// now tells what has not been told yet.
func (b *banner) now() {
	b.mu.Lock()
	news := b.news
	b.news = ""
	b.mu.Unlock()
	if news != "" {
		b.tell(news)
	}
}

// end stops telling, because the login does not wait any more. It returns all that was said.
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
