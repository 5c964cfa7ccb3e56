package login

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"fleetssh"
	"fleetssh/internal/fleettest"
	"fleetssh/internal/sshdtest"
)

// Keys that are in hardware sign through the agent.

func TestSSHDToken(t *testing.T) {
	sshdtest.CheckLeaks(t)
	s := sshdtest.Start(t, sshdtest.Options{})
	user := sshdtest.CurrentUser(t)
	for _, kind := range []string{sshdtest.KindED25519, sshdtest.KindECDSA} {
		t.Run(kind, func(t *testing.T) {
			token := sshdtest.NewToken(t, kind)
			withAgent(t, sshdtest.StartTokenAgent(t, nil, token))
			s.Authorize(t, user, token.Public())
			fleettest.Dial(t, fleettest.HostConfig(t, s, user, fleetssh.Auth{}))
			fleettest.Equal(t, "touches", token.Touches(), 1)
			fleettest.Contains(t, s.Log(), "ssh2: "+strings.ToUpper(kind)+"-SK "+ssh.FingerprintSHA256(token.Public()))
			// Not one for which the host does not take the key.
			s.Authorize(t, user)
			fleettest.DialFails[*fleetssh.AuthenticationError](t, fleettest.HostConfig(t, s, user, fleetssh.Auth{}))
			fleettest.Equal(t, "touches", token.Touches(), 1)
		})
	}
}

// The token whose public half is a default file is offered first.
func TestSSHDTokenDefaultKeyFirst(t *testing.T) {
	sshdtest.CheckLeaks(t)
	s := sshdtest.Start(t, sshdtest.Options{Config: []string{"MaxAuthTries 1"}})
	user := sshdtest.CurrentUser(t)
	for file, kind := range map[string]string{"id_ed25519_sk": sshdtest.KindED25519, "id_ecdsa_sk": sshdtest.KindECDSA} {
		t.Run(file, func(t *testing.T) {
			var others []*sshdtest.Key
			for range 5 {
				others = append(others, sshdtest.NewKey(t, sshdtest.KindED25519))
			}
			token := sshdtest.NewToken(t, kind)
			withAgent(t, sshdtest.StartTokenAgent(t, others, token))
			dir := sshDir(t)
			// The private half says where the hardware is. It is for the agent.
			if err := os.WriteFile(filepath.Join(dir, file), []byte("no key that can be read\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, file+".pub"), ssh.MarshalAuthorizedKey(token.Public()), 0o644); err != nil {
				t.Fatal(err)
			}
			s.Authorize(t, user, token.Public())
			fleettest.Dial(t, fleettest.HostConfig(t, s, user, fleetssh.Auth{}))
			for _, key := range others {
				s.Logged(t, 0, ssh.FingerprintSHA256(key.Public()))
			}
		})
	}
}

// Waiting for a touch holds up nobody who needs none, although all logins of the
// process share one connection to the agent, and it answers in order.
func TestSSHDTokenTouchTakesAWhile(t *testing.T) {
	sshdtest.CheckLeaks(t)
	s, named := fleettest.StartSSHD(t, sshdtest.Options{})
	other, file := sshdtest.Start(t, sshdtest.Options{}), sshdtest.NewKey(t, sshdtest.KindECDSA)
	user := sshdtest.CurrentUser(t)
	asked, touched := make(chan struct{}), make(chan struct{})
	token := sshdtest.NewToken(t, sshdtest.KindED25519)
	token.Touch = func(ctx context.Context) error {
		close(asked)
		select {
		case <-touched:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	withAgent(t, sshdtest.StartTokenAgent(t, nil, token))
	file.Write(t, filepath.Join(sshDir(t), "id_ecdsa"), "")
	s.Authorize(t, user, token.Public(), named.Auth.Signers[0].PublicKey())
	other.Authorize(t, user, file.Public())

	waiting := fleettest.HostConfig(t, s, user, fleetssh.Auth{NoDefaultKeys: true})
	p := &fleetssh.ParallelClient{Hosts: []fleetssh.HostConfig{waiting, named, fleettest.HostConfig(t, other, user, fleetssh.Auth{})}}
	defer p.Close()
	slow := make(chan error, 1)
	go func() {
		_, err := p.Client(fleettest.Soon(t), 0)
		slow <- err
	}()
	<-asked
	// One that names its key, and one that has the list of the agent's keys from the
	// first login: the token is offered to that host, and not taken.
	for i := 1; i < len(p.Hosts); i++ {
		if _, err := p.Client(fleettest.Soon(t), i); err != nil {
			t.Errorf("host %d: %v", i, err)
		}
	}
	fleettest.Dial(t, p.Hosts[2]) // that shares nothing with them but the agent
	select {
	case err := <-slow:
		t.Errorf("the login with the token has ended before the touch: %v", err)
	default:
	}
	close(touched)
	if err := <-slow; err != nil {
		t.Error(err)
	}
	fleettest.Equal(t, "touches", token.Touches(), 1)
}

// A touch that never comes ends with the time for connecting, and not the agent
// with it.
func TestSSHDTokenTouchNeverComes(t *testing.T) {
	sshdtest.CheckLeaks(t)
	s := sshdtest.Start(t, sshdtest.Options{})
	user := sshdtest.CurrentUser(t)
	never, token := sshdtest.NewToken(t, sshdtest.KindED25519), sshdtest.NewToken(t, sshdtest.KindECDSA)
	asked := make(chan struct{}, 1)
	never.Touch = func(ctx context.Context) error {
		asked <- struct{}{}
		<-ctx.Done()
		return ctx.Err()
	}
	withAgent(t, sshdtest.StartTokenAgent(t, nil, never, token))
	s.Authorize(t, user, never.Public())
	host := fleettest.HostConfig(t, s, user, fleetssh.Auth{})
	host.ConnectTimeout, host.Attempts = 500*time.Millisecond, 1
	e := fleettest.DialFails[*fleetssh.TimeoutError](t, host)
	for len(asked) == 0 && host.ConnectTimeout < fleettest.Patience { // on a slow machine
		host.ConnectTimeout *= 2
		e = fleettest.DialFails[*fleetssh.TimeoutError](t, host)
	}
	fleettest.Equal(t, "phase", e.Phase, "auth")
	fleettest.Equal(t, "asked", len(asked), 1)
	s.Authorize(t, user, token.Public())
	fleettest.Dial(t, fleettest.HostConfig(t, s, user, fleetssh.Auth{}))
}

// A touch that is denied is told, and is not the end of a login that has other keys.
func TestSSHDTokenTouchDenied(t *testing.T) {
	sshdtest.CheckLeaks(t)
	s := sshdtest.Start(t, sshdtest.Options{})
	user := sshdtest.CurrentUser(t)
	denied, next, file := sshdtest.NewToken(t, sshdtest.KindED25519), sshdtest.NewToken(t, sshdtest.KindECDSA), sshdtest.NewKey(t, sshdtest.KindED25519)
	denied.Touch = func(context.Context) error { return errors.New("denied") }
	withAgent(t, sshdtest.StartTokenAgent(t, nil, denied, next))
	file.Write(t, filepath.Join(sshDir(t), "id_ed25519"), "")
	host := fleettest.HostConfig(t, s, user, fleetssh.Auth{})

	s.Authorize(t, user, denied.Public())
	e := fleettest.DialFails[*fleetssh.AuthenticationError](t, host)
	fleettest.Contains(t, e.Error(), "SSH agent: ", "sign")
	fleettest.Equal(t, "touches", denied.Touches(), 1)

	s.Authorize(t, user, denied.Public(), next.Public())
	fleettest.Dial(t, host)
	fleettest.Equal(t, "touches of the one denied", denied.Touches(), 2)
	fleettest.Equal(t, "touches of the next", next.Touches(), 1)

	s.Authorize(t, user, denied.Public(), file.Public())
	fleettest.Dial(t, host)
	fleettest.Equal(t, "touches of the one denied", denied.Touches(), 3)
}

// Keys on a smartcard, through OpenSSH's agent and its PKCS#11 helper.
func TestSSHDSmartcard(t *testing.T) {
	sshdtest.CheckLeaks(t)
	s := sshdtest.Start(t, sshdtest.Options{})
	user := sshdtest.CurrentUser(t)
	keys := []*sshdtest.Key{sshdtest.NewKey(t, sshdtest.KindRSA), sshdtest.NewKey(t, sshdtest.KindECDSA)}
	card := sshdtest.NewSmartcard(t, keys...)
	a := sshdtest.StartAgent(t)
	withAgent(t, a.Socket)
	if err := a.AddSmartcardWrongly(t, card); err == nil {
		t.Error("the card takes any PIN")
	}
	a.AddSmartcard(t, card)
	for _, key := range keys {
		s.Authorize(t, user, key.Public())
		c := fleettest.Dial(t, fleettest.HostConfig(t, s, user, fleetssh.Auth{}))
		fleettest.Equal(t, "output", fleettest.Output(t, c, "echo in"), "in\n")
	}
	// The card takes one after another.
	p := &fleetssh.ParallelClient{Hosts: fleetssh.Hosts(fleettest.HostConfig(t, s, user, fleetssh.Auth{}), make20(s.Host)...)}
	defer p.Close()
	if err := p.Connect(fleettest.Soon(t)); err != nil {
		t.Error(err)
	}
}

// sshDir makes ~/.ssh.
func sshDir(t testing.TB) string {
	t.Helper()
	dir := filepath.Join(os.Getenv("HOME"), ".ssh")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}
