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

// The tests in this file use keys in hardware, which sign through the agent.

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
			// No touch is needed for a key that the host refuses.
			s.Authorize(t, user)
			fleettest.DialFails[*fleetssh.AuthenticationError](t, fleettest.HostConfig(t, s, user, fleetssh.Auth{}))
			fleettest.Equal(t, "touches", token.Touches(), 1)
		})
	}
}

// The token whose public half is in a default file is offered first.
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
			// The private file of a token only refers to the hardware, and only the agent uses it.
			if err := os.WriteFile(filepath.Join(dir, file), []byte("not a readable key\n"), 0o600); err != nil {
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

// A login that waits for a touch does not delay logins that need none, although all logins of the
// process share one connection to the agent, which answers in order.
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
	// Host 1 has its own key. Host 2 uses the list of the agent's keys that the first login has
	// fetched: the client offers it the token, and the host refuses that.
	for i := 1; i < len(p.Hosts); i++ {
		if _, err := p.Client(fleettest.Soon(t), i); err != nil {
			t.Errorf("host %d: %v", i, err)
		}
	}
	fleettest.Dial(t, p.Hosts[2]) // shares only the agent with the fleet
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

// A login without the touch that it needs ends after ConnectTimeout. The agent serves later logins.
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

// A denied touch is reported, and the login continues with other keys.
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
	fleettest.Equal(t, "touches of the denied token", denied.Touches(), 2)
	fleettest.Equal(t, "touches of the next token", next.Touches(), 1)

	s.Authorize(t, user, denied.Public(), file.Public())
	fleettest.Dial(t, host)
	fleettest.Equal(t, "touches of the denied token", denied.Touches(), 3)
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
	if err := a.AddSmartcardWrongPIN(t, card); err == nil {
		t.Error("the card accepts a wrong PIN")
	}
	a.AddSmartcard(t, card)
	for _, key := range keys {
		s.Authorize(t, user, key.Public())
		c := fleettest.Dial(t, fleettest.HostConfig(t, s, user, fleetssh.Auth{}))
		fleettest.Equal(t, "output", fleettest.Output(t, c, "echo in"), "in\n")
	}
	// The card signs for one login after the other.
	p := &fleetssh.ParallelClient{Hosts: fleetssh.Hosts(fleettest.HostConfig(t, s, user, fleetssh.Auth{}), make20(s.Host)...)}
	defer p.Close()
	if err := p.Connect(fleettest.Soon(t)); err != nil {
		t.Error(err)
	}
}

// sshDir creates ~/.ssh and returns its path.
func sshDir(t testing.TB) string {
	t.Helper()
	dir := filepath.Join(os.Getenv("HOME"), ".ssh")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}
