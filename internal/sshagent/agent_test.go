package sshagent

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/ssh/agent"

	"fleetssh/internal/sshdtest"
)

// counting is an agent that counts how often its keys are listed.
type counting struct {
	agent.ExtendedAgent
	lists atomic.Int32
}

func (c *counting) List() ([]*agent.Key, error) {
	c.lists.Add(1)
	return c.ExtendedAgent.List()
}

// TestTable checks that all users of a socket share a connection, from the first request to the
// last Release.
func TestTable(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	ring := &counting{ExtendedAgent: newKeyring(t, fixedKey(t))}
	s, other := newFakeAgent(t, serving(ring)), newFakeAgent(t, silent)
	var table Table
	table.Release(nil)
	for round := range int32(3) {
		users := make([]*Agent, 50)
		for i := range users {
			users[i] = table.Acquire(s.path)
		}
		if s.made.Load() != round {
			t.Error("connected before the first request")
		}
		var wg sync.WaitGroup
		for _, a := range users {
			wg.Go(func() {
				if keys, err := a.Keys(t.Context()); err != nil || len(keys) != 1 {
					t.Errorf("%d keys, %v", len(keys), err)
				}
				if _, err := sign(t, a); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		second := table.Acquire(other.path)
		if second == users[0] {
			t.Error("one connection for two sockets")
		}
		table.Release(second)
		for _, a := range users[1:] {
			table.Release(a)
		}
		if _, err := sign(t, users[0]); err != nil {
			t.Errorf("closed before its last user: %v", err)
		}
		if made := s.made.Load(); made != round+1 {
			t.Errorf("%d connections in round %d", made, round)
		}
		table.Release(users[0])
		s.closed(t)
		if _, err := sign(t, users[0]); err == nil || !strings.Contains(err.Error(), "closed") {
			t.Errorf("signed without a connection: %v", err)
		}
	}
	if len(table.open) != 0 || ring.lists.Load() != 3 {
		t.Errorf("%d connections left, %d lists", len(table.open), ring.lists.Load())
	}
}

// TestTableRace acquires and releases an Agent concurrently. A user must never get a connection
// that another user closes.
func TestTableRace(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	s := newFakeAgent(t, serving(newKeyring(t, fixedKey(t))))
	var table Table
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				a := table.Acquire(s.path)
				if _, err := sign(t, a); err != nil {
					t.Error(err)
				}
				table.Release(a)
			}
		})
	}
	wg.Wait()
	s.closed(t)
}

// TestReconnect checks that a request reconnects after a failure of the connection, once.
func TestReconnect(t *testing.T) {
	t.Parallel()
	lost, none := []byte(nil), packet(12, 0, 0, 0, 0) // SSH_AGENT_IDENTITIES_ANSWER without keys
	for _, test := range []struct {
		name    string
		answers [][]byte // in order; empty lists follow
		errs    []bool   // in order, whether a request fails
		made    int32    // connections
	}{
		{"no failure", nil, []bool{false, false}, 1},
		{"refused", [][]byte{packet(messageFailure)}, []bool{true, false}, 1},
		{"lost at the first", [][]byte{lost}, []bool{false, false}, 2},
		{"lost at the second", [][]byte{none, lost}, []bool{false, false}, 2},
		{"lost twice", [][]byte{lost, lost}, []bool{true, false}, 3},
		{"truncated", [][]byte{{0, 0, 0, 5, 12}}, []bool{false, false}, 2},
		{"truncated length", [][]byte{{0, 0}}, []bool{false, false}, 2},
		{"empty answer", [][]byte{packet()}, []bool{true, false}, 1},
		{"unknown type", [][]byte{packet(255)}, []bool{true, false}, 1},
		{"another type", [][]byte{packet(6)}, []bool{true, false}, 1},
		{"a million keys announced", [][]byte{packet(12, 0, 15, 0, 0)}, []bool{true, false}, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			sshdtest.CheckLeaks(t)
			var n atomic.Int32
			s := newFakeAgent(t, answers(func([]byte) ([]byte, bool) {
				at := int(n.Add(1)) - 1
				if at >= len(test.answers) {
					return none, true
				}
				answer := test.answers[at]
				whole := len(answer) >= 4 && len(answer) == 4+int(answer[3])
				return answer, whole
			}))
			a := acquire(t, s)
			for i, want := range test.errs {
				if _, err := list(t, a); (err != nil) != want {
					t.Errorf("request %d: %v", i, err)
				}
			}
			if made := s.made.Load(); made != test.made {
				t.Errorf("%d connections, want %d", made, test.made)
			}
		})
	}
}

// TestReconnectAfterTooLongAnswer checks that an answer that is too long ends the connection, and
// later requests reconnect.
func TestReconnectAfterTooLongAnswer(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	var n atomic.Int32
	s := newFakeAgent(t, answers(func([]byte) ([]byte, bool) {
		if n.Add(1) == 1 {
			return []byte{1, 0, 0, 1}, true
		}
		return packet(12, 0, 0, 0, 0), true
	}))
	a := acquire(t, s)
	list(t, a) // may fail, or succeed when it is repeated
	for range 3 {
		if _, err := list(t, a); err != nil {
			t.Fatal(err)
		}
	}
}

// TestRestarted restarts the agent between requests.
func TestRestarted(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	s := newFakeAgent(t, serving(newKeyring(t, fixedKey(t))))
	a := acquire(t, s)
	for range 3 {
		if _, err := sign(t, a); err != nil {
			t.Fatal(err)
		}
		s.stop()
		if _, err := sign(t, a); err == nil {
			t.Fatal("signed while the agent was stopped")
		}
		s.start(t)
	}
}

// TestKeysCached checks that concurrent callers list the keys once, that a list or an error is
// cached, and that it is refreshed when it is old.
func TestKeysCached(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		keys, err := newKeyring(t, fixedKey(t)).List()
		if err != nil {
			t.Fatal(err)
		}
		var lists atomic.Int32
		var failing atomic.Bool
		a, release := piped(answers(func([]byte) ([]byte, bool) {
			lists.Add(1)
			if failing.Load() {
				return packet(messageFailure), true
			}
			return packet(identities(keys)...), true
		}))
		defer release()
		for i, fails := range []bool{false, true, true, false} {
			failing.Store(fails)
			for range 100 {
				go func() {
					if keys, err := a.Keys(t.Context()); (err != nil) != fails || (len(keys) == 1) == fails {
						t.Errorf("round %d: %d keys, %v", i, len(keys), err)
					}
				}()
			}
			synctest.Wait()
			<-time.After(listAge - 1)
			a.Keys(t.Context())
			if n := lists.Load(); n != int32(i+1) {
				t.Errorf("round %d: %d lists", i, n)
			}
			<-time.After(1)
		}
	})
}

// TestKeysOfSilentAgent checks the time limit for an agent that does not answer. An old list is
// used if there is one.
func TestKeysOfSilentAgent(t *testing.T) {
	t.Parallel()
	for _, known := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			keys, err := newKeyring(t, fixedKey(t)).List()
			if err != nil {
				t.Fatal(err)
			}
			quiet := make(chan struct{})
			a, release := piped(func(conn net.Conn) {
				if known {
					readMessage(conn)
					conn.Write(packet(identities(keys)...))
				}
				close(quiet)
				silent(conn)
			})
			defer release()
			if known {
				if keys, err := a.Keys(t.Context()); err != nil || len(keys) != 1 {
					t.Fatal(keys, err)
				}
			}
			<-quiet
			<-time.After(listAge)
			begun := time.Now()
			for i := range 10 {
				go func() {
					keys, err := a.Keys(t.Context())
					if known != (err == nil) || known != (len(keys) == 1) {
						t.Errorf("%d: %d keys, %v", i, len(keys), err)
					}
					if !known && !errors.Is(err, context.DeadlineExceeded) {
						t.Error(err)
					}
					if took := time.Since(begun); took != listTimeout {
						t.Errorf("%d: took %v", i, took)
					}
				}()
			}
			<-time.After(listTimeout + 1)
			synctest.Wait()
		})
	}
}

// TestSilentAgent checks that the end of its context ends the wait of each caller for a silent
// agent, and that the last Release does not wait for the agent.
func TestSilentAgent(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	s := newFakeAgent(t, silent)
	var table Table
	a := table.Acquire(s.path)
	why := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	requests := []func(context.Context) error{
		func(ctx context.Context) error { _, err := a.Keys(ctx); return err },
		func(ctx context.Context) error { _, err := signed(ctx, a, fixedKey(t)); return err },
	}
	errs := make(chan error, 100)
	for i := range cap(errs) { // more than maxRequests
		go func() { errs <- requests[i%len(requests)](ctx) }()
	}
	sshdtest.Eventually(t, patience, "all slots are in use", func() bool { return len(a.slots) == maxRequests })
	cancel(why)
	for range cap(errs) {
		wantError(t, <-errs, why)
	}
	// Requests that still run keep their slots.
	short, end := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer end()
	for _, request := range requests {
		wantError(t, request(short), context.DeadlineExceeded)
	}
	table.Release(a)
	s.closed(t)
	if n := len(a.slots); n != 0 {
		t.Errorf("%d slots still in use", n)
	}
}

// TestKeysGivenUp cancels the caller that lists the keys. Another waiting caller must still get
// them.
func TestKeysGivenUp(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	asked, answer := make(chan struct{}, 2), make(chan struct{})
	s := newFakeAgent(t, answers(func([]byte) ([]byte, bool) {
		asked <- struct{}{}
		<-answer
		return packet(12, 0, 0, 0, 0), true
	}))
	a := acquire(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	first := make(chan error)
	go func() { _, err := a.Keys(ctx); first <- err }()
	<-asked
	second := make(chan error)
	go func() { _, err := a.Keys(t.Context()); second <- err }()
	cancel()
	wantError(t, <-first, context.Canceled)
	close(answer)
	if err := <-second; err != nil {
		t.Error(err)
	}
}

// TestKeysCancelledLate ends the context while the answer arrives. Keys must return either the keys
// or an error.
func TestKeysCancelledLate(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	keys, err := newKeyring(t, fixedKey(t)).List()
	if err != nil {
		t.Fatal(err)
	}
	cancels := make(chan context.CancelFunc, 1)
	s := newFakeAgent(t, answers(func([]byte) ([]byte, bool) {
		go (<-cancels)()
		return packet(identities(keys)...), true
	}))
	for range 500 {
		var table Table
		a := table.Acquire(s.path)
		ctx, cancel := context.WithCancel(t.Context())
		cancels <- cancel
		if keys, err := a.Keys(ctx); err == nil && len(keys) != 1 {
			t.Errorf("%d keys and no error", len(keys))
		}
		cancel()
		table.Release(a)
	}
}

// piped returns an Agent whose connection is a pipe, which synctest needs.
func piped(serve func(net.Conn)) (a *Agent, release func()) {
	var table Table
	a = table.Acquire("/nonexistent/agent")
	near, far := net.Pipe()
	a.conn = &watchedConn{Conn: near}
	a.client = agent.NewClient(a.conn)
	go func() {
		serve(far)
		far.Close()
	}()
	return a, func() { table.Release(a) }
}

// list lists the keys without the cache.
func list(t testing.TB, a *Agent) (keys []*agent.Key, err error) {
	t.Helper()
	err = a.do(t.Context(), func(client agent.ExtendedAgent) (err error) {
		keys, err = client.List()
		return err
	})
	return slices.Clone(keys), err
}
