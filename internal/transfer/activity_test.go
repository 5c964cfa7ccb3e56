package transfer

import (
	"testing"
	"testing/synctest"
	"time"
)

// slowLine takes a second for every 32 KiB, and records the longest time without activity.
type slowLine struct {
	Stream
	ch      *channel
	silence time.Duration
}

func (s *slowLine) Write(p []byte) (int, error) {
	time.Sleep(time.Second * time.Duration(len(p)) / minBlock)
	s.silence = max(s.silence, time.Duration(time.Now().UnixNano()-s.ch.lastActive.Load()))
	return len(p), nil
}

// TestActivityOnSlowLine: sending a block over a slow line does not count as silence.
func TestActivityOnSlowLine(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ch := new(channel)
		line := &slowLine{ch: ch}
		ch.touch()
		n, err := (&activityStream{line, ch}).Write(make([]byte, maxBlock))
		if n != maxBlock || err != nil {
			t.Fatalf("wrote %d bytes: %v", n, err)
		}
		if line.silence > time.Second {
			t.Errorf("nothing was seen for %v", line.silence)
		}
	})
}
