package login

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/ssh"

	"fleetssh"
	"fleetssh/internal/fleettest"
	"fleetssh/internal/simfleet"
)

func TestBannerIsKept(t *testing.T) {
	t.Parallel()
	const sent = "Authorized \x1b[31muse\x1b[0m only.\r\n\tAsk ops.\r\n"
	const want = "Authorized ^[[31muse^[[0m only.\n    Ask ops."
	t.Run("of a login", func(t *testing.T) {
		t.Parallel()
		c := fleettest.NewServer(t, func(h *simfleet.Host) { h.Banner = sent }).Dial(t)
		fleettest.Equal(t, "banner", c.Logins()[0].Banner, want)
	})
	t.Run("of a refused login", func(t *testing.T) {
		t.Parallel()
		host := fleettest.NewServer(t, func(h *simfleet.Host) { h.Banner, h.AuthorizedKeys = sent, nil }).Config()
		_, err := fleetssh.Dial(t.Context(), host)
		var refused *fleetssh.AuthenticationError
		if !errors.As(err, &refused) {
			t.Fatal(err)
		}
		fleettest.Equal(t, "banner", refused.Banner, want)
	})
	t.Run("of a login that times out", func(t *testing.T) {
		t.Parallel()
		host := fleettest.NewServer(t, func(h *simfleet.Host) {
			h.Banner = sent
			h.SignIn = func(_ string, done <-chan struct{}) bool { <-done; return false }
		}).Config()
		host.ConnectTimeout = fleettest.Lapse
		_, err := fleetssh.Dial(t.Context(), host)
		fleettest.Contains(t, err.Error(), `timed out after 10s: it said "Authorized ^[[31muse^[[0m only.^J    Ask ops."`)
	})
	t.Run("endless", func(t *testing.T) {
		t.Parallel()
		c := fleettest.NewServer(t, func(h *simfleet.Host) { h.Banner = strings.Repeat("x\x1b\n", 50_000) }).Dial(t)
		if n := len(c.Logins()[0].Banner); n > 4<<10+len("…") {
			t.Errorf("%d bytes are kept", n)
		}
	})
}

// TestBannerIsShownDuringLogin has the user sign in elsewhere, such as in a browser: the user must
// see the link in the banner before the login can continue.
func TestBannerIsShownDuringLogin(t *testing.T) {
	t.Parallel()
	signedIn := make(chan struct{})
	s := fleettest.NewServer(t, func(h *simfleet.Host) {
		h.Banner = "To sign in, visit https://login.example.com/a/1\n"
		h.SignIn = func(_ string, done <-chan struct{}) bool {
			select {
			case <-signedIn:
				return true
			case <-done:
				return false
			}
		}
	})
	host := s.Config()
	host.Alias = "web1"
	var once sync.Once
	host.Auth.Tell = func(name, text string) {
		fleettest.Equal(t, "host", name, "web1")
		fleettest.Equal(t, "text", text, "To sign in, visit https://login.example.com/a/1")
		once.Do(func() { close(signedIn) })
	}
	c, err := fleetssh.Dial(t.Context(), host)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fleettest.Equal(t, "banner", c.Logins()[0].Banner, "To sign in, visit https://login.example.com/a/1")
}

// TestBannerIsShownBeforeQuestion expects a banner before the question that it may explain, and no
// banner if the login neither asks nor waits.
func TestBannerIsShownBeforeQuestion(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var seen []string
	note := func(text string) {
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, text)
	}
	host := fleettest.NewServer(t, func(h *simfleet.Host) {
		h.AuthorizedKeys, h.Banner = nil, "A code is on its way."
		h.Prompts = [][]simfleet.Prompt{{{Text: "Code: ", Answer: "1"}}}
	}).Config()
	host.Auth = fleetssh.Auth{
		Tell: func(_, text string) { note(text) },
		Ask: func(_ context.Context, q fleetssh.Question) (string, error) {
			note(q.Prompt)
			return "1", nil
		},
	}
	c, err := fleetssh.Dial(t.Context(), host)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	fleettest.Equal(t, "seen", strings.Join(seen, "|"), "A code is on its way.|Code: ")
	quick := fleettest.NewServer(t, func(h *simfleet.Host) { h.Banner = "Authorized use only." }).Config()
	quick.Auth.Tell = func(_, text string) { t.Errorf("shown although the login does not wait: %s", text) }
	quick.Auth.Signers = []ssh.Signer{fleettest.ClientKey()}
	if c, err = fleetssh.Dial(t.Context(), quick); err != nil {
		t.Fatal(err)
	}
	c.Close()
}
