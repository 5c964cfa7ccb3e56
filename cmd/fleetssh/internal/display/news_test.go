package display

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/termline"
)

// Events of the same kind share one line. Events before Begin and after End are not shown, and
// control characters are made visible.
func TestHostNews(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	screen := termline.New(io.Discard, &b)
	news := &News{Screen: screen}
	lost := func(name string) {
		news.Add(fleetssh.TunnelEvent{
			Kind: fleetssh.TunnelConnectionLost, Host: fleetssh.HostConfig{Host: "10.0.0.1", Alias: name},
			Err: &fleetssh.ConnectionError{Host: name, Phase: fleetssh.PhaseRun, Err: errors.New("gone \x1b[2J")},
		})
	}
	lost("web9")
	news.Begin(t.Context())
	for _, name := range []string{"web1", "web2", "web3"} {
		lost(name)
	}
	news.Add(fleetssh.TunnelEvent{Kind: fleetssh.TunnelReconnected, Host: fleetssh.HostConfig{Host: "web2"}})
	news.End()
	lost("web8")
	screen.Close()
	const want = "fleetssh: web[1-3]: tunnels have lost their connection: gone ^[[2J\nfleetssh: web2: connected again\n"
	if b.String() != want {
		t.Errorf("%q, want %q", b.String(), want)
	}
}
