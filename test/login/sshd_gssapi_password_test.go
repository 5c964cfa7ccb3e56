package login

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"fleetssh"
	"fleetssh/internal/fleettest"
	"fleetssh/internal/kdctest"
	"fleetssh/internal/sshdtest"
)

// A wrong Kerberos password is sent to the KDC once, and one host reports that. The others are not
// started, as with any shared password, unless they have other credentials.
func TestSSHDGSSAPIWrongPassword(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	k := startKerberos(t)
	fleet := func(password string, more fleetssh.Auth) *fleetssh.ParallelClient {
		host := k.tickets(fleetssh.GSSAPI{Password: password, ClientIdentity: k.user})
		more.GSSAPI, more.NoAgent, more.NoDefaultKeys = host.Auth.GSSAPI, true, true
		host.Auth = more
		p := &fleetssh.ParallelClient{}
		for _, alias := range []string{"a", "b", "c", "d"} {
			host.Alias = alias
			p.Hosts = append(p.Hosts, host)
		}
		t.Cleanup(func() { p.Close() })
		return p
	}
	refusals := func() int {
		return len(k.Requests(kdctest.AS, "PREAUTH_FAILED"))
	}

	outs, _ := fleet("wr0ng", fleetssh.Auth{}).RunCommand(t.Context(), fleetssh.Command{Line: "true"})
	unreachable, unstarted := 0, 0
	for _, out := range outs {
		switch o := out.Outcome(); o {
		case fleetssh.Outcome{Kind: fleetssh.Unreachable, Phase: "auth"}:
			unreachable++
			fleettest.Contains(t, out.Err.Error(), "Kerberos", k.user+"@"+k.Realm)
		case fleetssh.Outcome{Kind: fleetssh.NotStarted, Phase: "auth"}:
			unstarted++
			e, ok := errors.AsType[*fleetssh.PasswordError](out.Err)
			if !ok || !e.Kerberos || e.User != k.user+"@"+k.Realm || e.RefusedBy != "the KDC of "+k.Realm {
				t.Errorf("%#v", out.Err)
			}
		default:
			t.Errorf("%+v: %v", o, out.Err)
		}
	}
	if unreachable != 1 || unstarted != 3 {
		t.Errorf("%d unreachable, %d not started", unreachable, unstarted)
	}
	if n := refusals(); n != 1 {
		t.Errorf("the KDC refused %d passwords\n%s", n, k.Log())
	}

	// A key still logs in.
	p := fleet("wr0ng too", fleetssh.Auth{Signers: k.host.Auth.Signers})
	if err := p.Connect(t.Context()); err != nil {
		t.Error(err)
	}
	if n := refusals(); n != 2 {
		t.Errorf("the KDC refused %d passwords", n)
	}

	// The user gives another password once, for all hosts.
	p = fleet("wr0ng as well", fleetssh.Auth{})
	var questions atomic.Int32
	p.AskAgain = func(_ context.Context, r fleetssh.RefusedPassword) (string, error) {
		if n := questions.Add(1); !r.Kerberos || r.User != k.user+"@"+k.Realm || r.Try != int(n) {
			t.Errorf("asked for %+v", r)
		}
		if r.Try == 1 {
			return "wr0ng again", nil
		}
		return kerberosPassword, nil
	}
	if err := p.Connect(t.Context()); err != nil {
		t.Error(err)
	}
	if n := questions.Load(); n != 2 {
		t.Errorf("%d questions", n)
	}

	// Three passwords are the limit, the first one included.
	p = fleet("bad 1", fleetssh.Auth{})
	questions.Store(0)
	p.AskAgain = func(context.Context, fleetssh.RefusedPassword) (string, error) {
		questions.Add(1)
		return "bad too", nil
	}
	err := p.Connect(t.Context())
	if n := questions.Load(); err == nil || n != 2 || strings.Contains(err.Error(), "bad") {
		t.Errorf("%d questions, %v", n, err)
	}
}
