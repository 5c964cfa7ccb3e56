package sshagent

import (
	"testing"

	"fleetssh/internal/sshdtest"
)

// TestRelayRefusesToBind checks that a remote client cannot bind its session: the agent would take
// it for a local client.
func TestRelayRefusesToBind(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	s := newFakeAgent(t, answers(agreed))
	f := relayed(t.Context(), t, acquire(t, s))
	for range 5 {
		if answer := f.ask(bind); len(answer) != 1 || answer[0] != messageFailure {
			t.Errorf("answer %x", answer)
		}
	}
	if answer := f.ask([]byte{11}); answer[0] != messageSuccess || s.made.Load() != 1 {
		t.Errorf("answer %x, %d connections", answer, s.made.Load())
	}
}
