package tunnel

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

type name string

func (n name) String() string { return string(n) }

// Concurrent callers share one attempt, and later callers share its failure for a while. Each
// change is reported once.
func TestConnector(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var events []Event
		c := NewConnector(name("web1"), func(e Event) { events = append(events, e) })
		down := errors.New("down")
		attempts := 0
		fail := func() error {
			attempts++
			time.Sleep(time.Second)
			return down
		}
		for range 10 {
			go func() {
				if tried, err := c.Connect(t.Context(), fail); !tried || err != down {
					t.Errorf("%v, %v", tried, err)
				}
			}()
		}
		synctest.Wait()
		short, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if tried, err := c.Connect(short, fail); tried || err != context.DeadlineExceeded {
			t.Errorf("%v, %v", tried, err)
		}
		time.Sleep(FailureMemory)
		if attempts != 1 {
			t.Errorf("%d attempts", attempts)
		}
		time.Sleep(FailureMemory)
		if _, err := c.Connect(t.Context(), fail); err != down || attempts != 2 {
			t.Errorf("%d attempts, %v", attempts, err)
		}
		time.Sleep(FailureMemory)
		if _, err := c.Connect(t.Context(), func() error { return nil }); err != nil {
			t.Error(err)
		}
		if !c.Connected(1) || c.Connected(1) {
			t.Error("a connection is new once")
		}
		c.Lost(0, errors.New("of another connection"))
		reset := errors.New("reset")
		c.Lost(1, reset)
		c.Lost(1, errors.New("again"))
		want := []Event{{ConnectFailed, name("web1"), down}, {Reconnected, name("web1"), nil}, {ConnectionLost, name("web1"), reset}}
		if !slices.Equal(events, want) {
			t.Errorf("got  %v\nwant %v", events, want)
		}
	})
}
