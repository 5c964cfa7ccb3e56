package dial

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"reflect"
	"syscall"
	"testing"
	"time"

	"fleetssh/internal/conn"
	"fleetssh/internal/transport"
)

var gate = &Config{Host: "gate", Port: 22, Name: "gate", RetryDelay: 5 * time.Second}

func TestIsTemporary(t *testing.T) {
	t.Parallel()
	refused := gate.failure(NotConnected, phaseConnect, syscall.ECONNREFUSED)
	notSSH := gate.failure(TimedOut, phaseHandshake, nil)
	notSSH.NotSSH = true
	lost := gate.failure(HopFailed, phaseProxy, refused)
	lost.Retryable = true
	for _, test := range []struct {
		name string
		err  error
		want bool
	}{
		{"no failure", errors.New("x"), false},
		{"time-out", gate.failure(TimedOut, phaseAuth, nil), true},
		{"time-out of another protocol", notSSH, false},
		{"unknown name", gate.failure(UnknownHost, phaseResolve, &lookupError{&net.DNSError{IsNotFound: true, IsTemporary: true}}), false},
		{"name server that does not answer", gate.failure(UnknownHost, phaseResolve, &lookupError{&net.DNSError{IsTimeout: true}}), true},
		{"refused", refused, true},
		{"proxy cannot be told the name", gate.failure(NotConnected, phaseConnect, &transport.Error{Target: true, Argument: true}), false},
		{"dropped", gate.failure(NotConnected, phaseHandshake, &conn.Error{Err: io.EOF}), true},
		{"no SSH", gate.failure(NotConnected, phaseHandshake, errors.New("not SSH")), false},
		{"hop has made its attempts", gate.failure(HopFailed, phaseProxy, refused), false},
		{"hop was lost", lost, true},
		{"refused login", gate.failure(LoginRefused, phaseAuth, nil), false},
		{"wrong key", gate.failure(BadHostKey, phaseHostKey, errors.New("changed")), false},
	} {
		if got := isTemporary(test.err); got != test.want {
			t.Errorf("%s: %v", test.name, got)
		}
	}
}

func TestDelay(t *testing.T) {
	t.Parallel()
	penalty := gate.failure(NotConnected, phaseHandshake, io.EOF)
	penalty.Said = "Not allowed at this time"
	refused := gate.failure(NotConnected, phaseConnect, syscall.ECONNREFUSED)
	fixed := *gate
	fixed.FixedDelay, fixed.RetryDelay = true, time.Second
	for _, test := range []struct {
		host *Config
		err  error
		n    int
		want time.Duration
	}{
		{gate, gate.failure(TimedOut, phaseConnect, nil), 1, 5 * time.Second},
		{gate, refused, 1, 200 * time.Millisecond},
		{gate, refused, 2, 400 * time.Millisecond},
		{gate, refused, 9, 5 * time.Second},
		{gate, refused, 90, 5 * time.Second},
		{gate, penalty, 1, 20 * time.Second},
		{&fixed, penalty, 1, time.Second},
		{&fixed, refused, 3, time.Second},
	} {
		if got := test.host.delay(test.err, test.n); got != test.want {
			t.Errorf("%v, attempt %d: %v, want %v", test.err, test.n, got, test.want)
		}
	}
}

// TestAttemptsAreCountedInACopy checks that withAttempts does not change its argument: all hosts
// behind a hop get the same Failure.
func TestAttemptsAreCountedInACopy(t *testing.T) {
	t.Parallel()
	lost := gate.failure(HopFailed, phaseProxy, gate.failure(NotConnected, phaseForward, errHopLost))
	lost.Retryable = true
	for _, f := range []*Failure{lost, gate.failure(TimedOut, phaseAuth, nil), gate.failure(BadHostKey, phaseHostKey, io.EOF)} {
		before := fmt.Sprintf("%+v %+v", *f, f.Err)
		told := withAttempts(f, 3).(*Failure)
		if after := fmt.Sprintf("%+v %+v", *f, f.Err); after != before {
			t.Errorf("%s changed to %s", before, after)
		}
		attempts := told.Attempts
		if inner, ok := told.Err.(*Failure); ok {
			attempts = inner.Attempts
		}
		if want := 3; f.Kind != BadHostKey && attempts != want {
			t.Errorf("%+v: %d attempts, want %d", told, attempts, want)
		}
	}
}

func TestInterrupted(t *testing.T) {
	t.Parallel()
	if f := Interrupted(t.Context(), Failure{}); f != nil {
		t.Errorf("a context that has not ended: %v", f)
	}
	enough := errors.New("enough")
	for cause, want := range map[error]Failure{
		context.DeadlineExceeded: {Kind: TimedOut, Phase: phaseAuth, After: time.Second},
		enough:                   {Kind: NotConnected, Phase: phaseAuth},
	} {
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(cause)
		f := Interrupted(ctx, Failure{Phase: phaseAuth, After: time.Second})
		if want.Kind == NotConnected && !(errors.Is(f, context.Canceled) && errors.Is(f, enough)) {
			t.Errorf("cancelled: %v", f.Err)
		}
		f.Err = nil
		if !reflect.DeepEqual(*f, want) {
			t.Errorf("%v: %+v", cause, *f)
		}
	}
}
