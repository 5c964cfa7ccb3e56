package transfer

import (
	"testing"
	"testing/synctest"
	"time"
)

// slowLine takes a second for every 32 KiB, and notes the longest that nothing was seen
// of it.
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

// A block that a slow line carries is no silence.
func TestNotingSlowLine(t *testing.T) {
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
