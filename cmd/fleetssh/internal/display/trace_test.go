package display

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/termline"
)

// A trace has a line for each record, with the time since the first one of its host. What a host says
// cannot act on the terminal. Warnings are still collected.
func TestTrace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var shown bytes.Buffer
		screen := termline.New(io.Discard, &shown)
		warnings := &Warnings{Trace: &Trace{Screen: screen}}
		log := slog.New(warnings)
		web1 := fleetssh.HostConfig{Host: "10.0.0.1", Alias: "web1"}
		log.Debug("connecting", "host", web1, "addresses", []string{"10.0.0.1:22"})
		time.Sleep(12 * time.Millisecond)
		log.Debug("the host offers", "host", web1, "version", "SSH-2.0-x\x1b[2J", "key_exchange", []string{"a", "b"}, "mac", []string{})
		log.Debug("connecting", "host", fleetssh.HostConfig{Host: "web2"})
		time.Sleep(time.Second)
		log.Debug("keys to offer", "host", web1, "keys", []string{"ssh-rsa SHA256:x from the agent", "ssh-ed25519 SHA256:y from a"})
		log.Debug("the host shows a banner", "host", web1, "text", "one\ntwo")
		log.Warn("careful", "host", web1)
		log.Debug("connection failed", "host", web1, "attempt", 1, "error", errors.New("refused"), "retry", true, "handshake", 1500*time.Microsecond)
		warnings.Show(screen)
		screen.Close()
		const want = `web1:      0s connecting, addresses 10.0.0.1:22
web1:    12ms the host offers, version SSH-2.0-x^[[2J
web1:    12ms   key exchange: a, b
web2:      0s connecting
web1:      1s keys to offer
web1:      1s   ssh-rsa SHA256:x from the agent
web1:      1s   ssh-ed25519 SHA256:y from a
web1:      1s the host shows a banner, text one
web1:      1s   two
web1:      1s connection failed, attempt 1: refused, retry true, handshake 1.5ms
fleetssh: warning: web1: careful
`
		if shown.String() != want {
			t.Errorf("shown:\n%swant:\n%s", shown.String(), want)
		}
		if (&Warnings{}).Enabled(context.Background(), slog.LevelDebug) {
			t.Error("debug records are made although nothing shows them")
		}
	})
}
