package presence

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"fleetssh"
)

// hostsOf returns a client that contacts nobody.
func hostsOf(n int) *fleetssh.ParallelClient {
	return &fleetssh.ParallelClient{Hosts: make([]fleetssh.HostConfig, n)}
}

var errRefused = &fleetssh.ConnectionError{Phase: fleetssh.PhaseConnect, Err: errors.New("connection refused")}

// Attempts on a host keep their distance, and no more hosts are tried at once than the limit allows.
func TestPace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const every = 5 * time.Second
		w := &Watch{Client: hostsOf(20), Every: every, Timeout: time.Hour, Logins: 3}
		last := make([]time.Time, 20)
		tries, active := make([]int, 20), 0
		gaps := make(map[time.Duration]bool)
		begin, end := make(chan int), make(chan int)
		go func() {
			for range 20 * 5 {
				i := <-begin
				if active++; active > 3 {
					t.Errorf("%d attempts at once", active)
				}
				if gap := time.Since(last[i]); tries[i] > 0 {
					gaps[gap] = true
					if gap < every {
						t.Errorf("host %d was tried again after %v", i, gap)
					}
				}
				last[i] = time.Now()
				tries[i]++
				active -= <-end
			}
		}()
		ended := make(map[int]End)
		w.Run(t.Context(), func(_ context.Context, i int) error {
			begin <- i
			end <- 1
			if tries[i] == 5 {
				return nil
			}
			return errRefused
		}, func(e End) { ended[e.Index] = e })
		if len(ended) != 20 {
			t.Fatalf("%d hosts ended", len(ended))
		}
		for i, e := range ended {
			if e.Err != nil || e.Attempts != 5 || e.After < 4*every {
				t.Errorf("host %d: %+v", i, e)
			}
		}
		if len(gaps) < 10 {
			t.Errorf("the pauses are the same: %v", slices.Collect(maps.Keys(gaps)))
		}
	})
}

func TestGivenUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &Watch{Client: hostsOf(2), Every: 5 * time.Second, Timeout: time.Minute, Logins: 10, Doing: "away"}
		begun := time.Now()
		w.Run(t.Context(), func(ctx context.Context, i int) error {
			if work := w.Working(); len(work) == 0 {
				t.Error("nobody works")
			}
			if i == 0 {
				return errRefused
			}
			<-ctx.Done() // a host that is silent
			return &fleetssh.TimeoutError{Phase: fleetssh.PhaseHandshake}
		}, func(e End) {
			up, ok := errors.AsType[*GivenUp](e.Err)
			if !ok || up.Limit != time.Minute || up.Last == nil || e.After != time.Minute {
				t.Errorf("%+v", e)
			}
		})
		if time.Since(begun) != time.Minute {
			t.Errorf("took %v", time.Since(begun))
		}
		if len(w.Working()) > 0 {
			t.Error("somebody still works")
		}
	})
}

// After more failures than allowed, no more hosts are begun; those that have begun finish.
func TestBudget(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &Watch{Client: hostsOf(10), Every: time.Second, Timeout: time.Hour, Logins: 10, Begun: 3, Limited: true, MaxFailed: 1}
		var ok, failed, skipped []int
		w.Run(t.Context(), func(_ context.Context, i int) error {
			if i < 2 {
				return &fleetssh.HostKeyError{}
			}
			time.Sleep(time.Second) // until then, both have failed
			return nil
		}, func(e End) {
			switch {
			case e.Err == nil:
				ok = append(ok, e.Index)
			case e.Err == ErrNotBegun:
				skipped = append(skipped, e.Index)
			default:
				failed = append(failed, e.Index)
			}
		})
		slices.Sort(failed)
		if !slices.Equal(failed, []int{0, 1}) || !slices.Contains(ok, 2) || len(skipped) < 5 || len(ok)+len(failed)+len(skipped) != 10 {
			t.Errorf("ok %v, failed %v, skipped %v", ok, failed, skipped)
		}
	})
}

func TestStopped(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		w := &Watch{Client: hostsOf(3), Every: time.Minute, Timeout: time.Hour, Logins: 10, Begun: 2}
		time.AfterFunc(30*time.Second, cancel)
		ended := make(map[int]error)
		w.Run(ctx, func(ctx context.Context, i int) error {
			if i == 0 {
				return errRefused // waits for its next attempt
			}
			<-ctx.Done()
			return ctx.Err()
		}, func(e End) { ended[e.Index] = e.Err })
		if len(ended) != 3 || ended[0] != context.Canceled || ended[1] != context.Canceled || ended[2] != ErrNotBegun {
			t.Errorf("%v", ended)
		}
	})
}

func TestPause(t *testing.T) {
	t.Parallel()
	auth := &fleetssh.AuthenticationError{}
	turnedAway := &fleetssh.ConnectionError{Phase: fleetssh.PhaseHandshake, Said: "Not allowed at this time", Err: errors.New("closed")}
	for _, test := range []struct {
		name  string
		errs  []error
		least time.Duration
		final bool
	}{
		{"refused connection", []error{errRefused}, 5 * time.Second, false},
		{"unknown name", []error{&fleetssh.UnknownHostError{}}, 5 * time.Second, false},
		{"not yet", []error{&NotYet{Reason: "exit code 3"}}, 5 * time.Second, false},
		{"turned away", []error{turnedAway}, penaltyPause, false},
		{"turned away by a hop", []error{&fleetssh.ProxyError{Err: turnedAway}}, penaltyPause, false},
		{"refused login", []error{auth}, refusedPause, false},
		{"refused twice", []error{auth, auth}, refusedPause, false},
		{"refused three times", []error{auth, auth, auth}, refusedPause, true},
		{"not in a row", []error{auth, auth, errRefused, auth}, refusedPause, false},
		{"host key", []error{&fleetssh.HostKeyError{}}, 0, true},
		{"host key of a hop", []error{&fleetssh.ProxyError{Err: &fleetssh.HostKeyError{}}}, 0, true},
		{"password", []error{&fleetssh.PasswordError{}}, 0, true},
		{"command", []error{&FailedError{Reason: "denied"}}, 0, true},
	} {
		r := &run{Watch: &Watch{Every: 5 * time.Second}}
		h := new(host)
		var pause time.Duration
		var final bool
		for _, err := range test.errs {
			pause, final = r.pause(h, err)
		}
		if final != test.final || pause < test.least || pause > 2*max(test.least, 1) {
			t.Errorf("%s: %v, final %v", test.name, pause, final)
		}
	}
}

func TestResult(t *testing.T) {
	t.Parallel()
	words := Words{Ended: "answers", Failed: "does not answer"}
	for _, test := range []struct {
		err  error
		want string
	}{
		{nil, "ok exited"},
		{&GivenUp{time.Minute, errRefused}, "timed_out, does not answer: after 1m: connection refused"},
		{&GivenUp{time.Minute, &NotYet{Reason: "exited 3"}}, "timed_out, does not answer: after 1m: exited 3"},
		{&GivenUp{Limit: time.Minute}, "timed_out, does not answer: after 1m"},
		{ErrNotBegun, "skipped, skipped: "},
		{context.Canceled, "cancelled, stopped before the command started: "},
		{&fleetssh.UnknownHostError{Host: "web1", Err: errors.New("no such host")}, "unreachable, unreachable (resolve): no such host"},
		{&FailedError{Outcome: fleetssh.Outcome{Kind: fleetssh.Exited, ExitCode: 1}, Reason: "denied"}, "exited, exit code 1: denied"},
		{&NotYet{Reason: "it still answers", Err: &fleetssh.AuthenticationError{Host: "web1"}}, "unreachable, unreachable (auth): "},
	} {
		r := words.Result(End{Index: 1, Err: test.err, Attempts: 2, After: time.Second}, 5, &fleetssh.HostConfig{Host: "web1"})
		got := "ok " + r.Outcome.Kind.String()
		if !r.OK {
			title, _ := r.Title()
			got = fmt.Sprintf("%s, %s: %s", r.Outcome.Kind, title, r.Problem.Reason)
			if r.Problem.Reason == "" {
				got = strings.TrimSuffix(got, " ") + " "
			}
		}
		if !strings.HasPrefix(got, test.want) && got != test.want || r.Index != 5 || r.Timing.Attempts != 2 {
			t.Errorf("%v: %q, want %q", test.err, got, test.want)
		}
	}
}

func TestSameBoot(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		a, b string
		same bool
	}{
		{"5d1f", "5d1f", true},
		{"5d1f", "6e2a", false},
		{"{ sec = 1760000000, usec = 12 } Thu Oct  9 08:53:20 2025", "{ sec = 1760000002, usec = 3 } Thu Oct  9 08:53:22 2025", true}, // the clock was set
		{"{ sec = 1760000000, usec = 12 } Thu", "{ sec = 1760000300, usec = 12 } Thu", false},
		{"1760000000", "1760000001", true},
		{"1760000000", "1760090000", false},
		{"1760000000", "x", false},
	} {
		if sameBoot(test.a, test.b) != test.same || sameBoot(test.b, test.a) != test.same {
			t.Errorf("%s, %s: want %v", test.a, test.b, test.same)
		}
	}
}
