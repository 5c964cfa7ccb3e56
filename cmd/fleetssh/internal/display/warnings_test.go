package display

import (
	"bytes"
	"io"
	"log/slog"
	"testing"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/termline"
)

// A warning names a host by its alias, if it has one.
func TestWarningsNameTheAlias(t *testing.T) {
	t.Parallel()
	w := new(Warnings)
	slog.New(w).Warn("the agent was not forwarded", "host", fleetssh.HostConfig{Host: "10.0.0.1", Alias: "web1"})
	slog.New(w).Warn("the agent was not forwarded", "host", fleetssh.HostConfig{Host: "web2"})
	var shown bytes.Buffer
	screen := termline.New(io.Discard, &shown)
	w.Show(screen)
	screen.Close()
	if want := "fleetssh: warning: web[1-2]: the agent was not forwarded\n"; shown.String() != want {
		t.Errorf("%q, want %q", shown.String(), want)
	}
}
