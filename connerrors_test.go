package fleetssh

import (
	"context"
	"errors"
	"net"
	"reflect"
	"slices"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"fleetssh/internal/conn"
	"fleetssh/internal/dial"
)

// TestPublicErrorsForgetNothing fills a failure, and checks that every field of the public error
// of each kind is set.
func TestPublicErrorsForgetNothing(t *testing.T) {
	t.Parallel()
	f := dial.Failure{
		Host: "h", Port: 22, Phase: "auth", Attempts: 2, After: time.Second, Said: "x", Err: errors.New("x"),
		Hop: "gate", Key: keyOfTest{}, Known: []string{"x"}, Path: "x", User: "u", Tried: []string{"x"}, Keys: []string{"x"},
		Banner: "x", Expired: true, Notes: []error{errors.New("x")}, RefusedBy: "other", Kerberos: true,
	}
	kinds := make(map[reflect.Type]bool)
	for f.Kind = 0; f.Kind <= dial.ForwardRefused; f.Kind++ {
		e := reflect.ValueOf(publicError(&f)).Elem()
		if kinds[e.Type()] {
			t.Errorf("kind %d and another both give a %v", f.Kind, e.Type())
		}
		kinds[e.Type()] = true
		for i := range e.NumField() {
			name := e.Type().Field(i).Name
			if e.Field(i).IsZero() && !(f.Kind == dial.TimedOut && name == "Err") {
				t.Errorf("%v.%s is not set", e.Type(), name)
			}
		}
	}
	inner := f
	inner.Kind, f.Kind, f.Err = dial.BadKeyFile, dial.HopFailed, &inner
	if _, ok := errors.AsType[*PKeyFileError](publicError(&f)); !ok {
		t.Error("the error of a hop is not made public")
	}
	f.Kind, f.Notes = dial.LoginRefused, []error{errors.New("x"), &inner}
	if _, ok := errors.AsType[*PKeyFileError](publicError(&f)); !ok {
		t.Error("an error in Failure.Notes is not made public")
	}
}

type keyOfTest struct{ ssh.PublicKey }

// A public error that a DialContext returns, from a connection of its own, is returned unchanged.
func TestErrorsOfDialContext(t *testing.T) {
	t.Parallel()
	cause := errors.New("x")
	for _, err := range []error{
		&UnknownHostError{Host: "h", Attempts: 2, Err: cause},
		&ConnectionError{Host: "h", Port: 22, Phase: PhaseAuth, Attempts: 2, Said: "x", Err: cause},
		&ProxyError{Host: "h", Hop: "gate", Err: &TimeoutError{Host: "gate", Err: cause}},
		&PasswordError{Host: "h", Port: 22, User: "u", Phase: PhaseAuth, RefusedBy: "other", Kerberos: true},
		&SessionError{Host: "h", Err: cause},
		cause,
	} {
		if got := publicError(failureOf(err)); !reflect.DeepEqual(got, err) {
			t.Errorf("%#v became %#v", err, got)
		}
	}
}

// TestLoginsForgetNothing fills a dial.Login, and checks that a Login and a Timing have all its
// fields.
func TestLoginsForgetNothing(t *testing.T) {
	t.Parallel()
	timing := dial.Timing{Proxy: 1, Resolve: 2, Connect: 3, Handshake: 4, Auth: 5, Attempts: 6}
	l := dial.Login{
		Addr: &net.TCPAddr{}, Master: "x", HostKey: keyOfTest{}, Methods: []string{"x"}, Allowed: []string{"x"}, Key: keyOfTest{},
		Banner: "x", Version: "x", Algorithms: ssh.NegotiatedAlgorithms{KeyExchange: "x"}, Offered: offerOfTest(), Timing: timing, Warnings: []string{"x"}, Hop: &dial.Login{Master: "of the hop"},
	}
	c := &Client{host: &HostConfig{Host: "h", Proxy: &HostConfig{Host: "gate"}}, login: &l}
	logins := c.Logins()
	if len(logins) != 2 || logins[0].Host.Host != "gate" || logins[0].Master != "of the hop" {
		t.Fatalf("%+v", logins)
	}
	login := reflect.ValueOf(logins[1])
	for i := range login.NumField() {
		if login.Field(i).IsZero() {
			t.Errorf("Login.%s is not set", login.Type().Field(i).Name)
		}
	}
	internal := fields(reflect.TypeFor[dial.Login]())
	if hidden := []string{"Conn", "Hop"}; len(internal)-len(hidden) != login.NumField()-1 || !slices.Contains(internal, hidden[0]) {
		t.Errorf("dial.Login has the fields %v", internal)
	}
	if want := (Timing{Proxy: 1, Resolve: 2, Connect: 3, Handshake: 4, Auth: 5, Attempts: 6}); c.Timing() != want {
		t.Errorf("%+v", c.Timing())
	}
	if n := reflect.TypeFor[dial.Timing]().NumField(); n != 6 {
		t.Errorf("dial.Timing has %d fields", n)
	}
}

// offerOfTest returns an offer of one key exchange.
func offerOfTest() conn.Offer {
	return conn.NewOffer(ssh.Marshal(struct {
		KeyExchanges, A, B, C, D, E, F, G, H, I []string
		Follows                                 bool
		Reserved                                uint32
	}{KeyExchanges: []string{"x"}}))
}

func TestCauses(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("enough"))
	// The outcome is the same if the caller cancels with a cause of its own.
	for _, test := range []struct {
		phase Phase
		want  Outcome
	}{
		{"connect", Outcome{Kind: Cancelled, Phase: PhaseConnect}},
		{"open", Outcome{Kind: Cancelled, Phase: PhaseOpen}},
		{"exec", Outcome{Kind: Cancelled}},
	} {
		err := interrupted(ctx, nil, &HostConfig{Host: "h"}, test.phase)
		if got := OutcomeOf(err); got != test.want {
			t.Errorf("%s: %+v", test.phase, got)
		}
	}
	if got := OutcomeOf((&ParallelClient{ctx: t.Context()}).skipped(ctx)); got.Kind != Skipped {
		t.Errorf("skipped: %+v", got)
	}
}
