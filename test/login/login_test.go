package login

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"fleetssh"
	"fleetssh/internal/fleettest"
	"fleetssh/internal/simfleet"
)

// onlyGiven offers only the credentials that a test adds.
var onlyGiven = fleetssh.Auth{NoAgent: true, NoDefaultKeys: true}

func TestPasswordLogins(t *testing.T) {
	t.Parallel()
	otp := [][]simfleet.Prompt{
		{{Text: "Password: ", Answer: "right"}},
		{{Text: "One-time code: ", Answer: "123456", Echo: true}, {Text: "Second device: ", Answer: "ok"}},
	}
	answers := map[string]string{"One-time code: ": "123456", "Second device: ": "ok", "Password: ": "right", "alice@127.0.0.1's password: ": "right"}
	ask := func(_ context.Context, q fleetssh.Question) (string, error) {
		for prompt, answer := range answers {
			if strings.HasSuffix(q.Prompt, prompt) {
				if q.Echo != (answer == "123456") {
					return "", fmt.Errorf("echo of %q is %v", q.Prompt, q.Echo)
				}
				return answer, nil
			}
		}
		return "", fmt.Errorf("asked %q", q.Prompt)
	}
	for _, test := range []struct {
		name  string
		host  func(*simfleet.Host)
		auth  func(*fleetssh.Auth)
		tried string // AuthenticationError.Tried, "-" if empty; "" if the login succeeds
	}{
		{"password", func(h *simfleet.Host) { h.Password = "right" }, func(a *fleetssh.Auth) { a.Password = "right" }, ""},
		{"wrong password is sent once", func(h *simfleet.Host) { h.Password = "right" }, func(a *fleetssh.Auth) { a.Password = "wrong" }, "password"},
		{"wrong password is not asked for again", func(h *simfleet.Host) { h.Prompts = otp[:1] }, func(a *fleetssh.Auth) { a.Password = "wrong" }, "keyboard-interactive"},
		{"password asked for", func(h *simfleet.Host) { h.Password = "right" }, func(a *fleetssh.Auth) { a.Ask = ask }, ""},
		{"questions", func(h *simfleet.Host) { h.Prompts = otp[:1] }, func(a *fleetssh.Auth) { a.Password = "right" }, ""},
		{"rounds of questions", func(h *simfleet.Host) { h.Prompts = otp }, func(a *fleetssh.Auth) { a.Ask = ask }, ""},
		{"password and questions", func(h *simfleet.Host) { h.Prompts = otp }, func(a *fleetssh.Auth) { a.Ask = ask; a.Password = "right" }, ""},
		{"questions without a user to ask", func(h *simfleet.Host) { h.Prompts = otp }, func(a *fleetssh.Auth) { a.Password = "right" }, "keyboard-interactive"},
		{"key, then password", func(h *simfleet.Host) {
			h.Password, h.RequireAll = "right", []string{"publickey", "password"}
		}, func(a *fleetssh.Auth) {
			a.Password = "right"
			a.Signers = []ssh.Signer{fleettest.NewKey(), fleettest.ClientKey()}
		}, ""},
		{"key, then questions", func(h *simfleet.Host) {
			h.Prompts, h.RequireAll = otp[:1], []string{"publickey", "keyboard-interactive"}
		}, func(a *fleetssh.Auth) { a.Password = "right"; a.Signers = []ssh.Signer{fleettest.ClientKey()} }, ""},
		{"key, then no password", func(h *simfleet.Host) {
			h.Password, h.RequireAll = "right", []string{"publickey", "password"}
		}, func(a *fleetssh.Auth) { a.Signers = []ssh.Signer{fleettest.ClientKey()} }, "publickey"},
		{"nothing to offer", nil, func(a *fleetssh.Auth) {}, "-"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := fleettest.NewServer(t, test.host)
			host := s.Config()
			host.Auth = onlyGiven
			test.auth(&host.Auth)
			c, err := fleetssh.Dial(t.Context(), host)
			if test.tried == "" {
				if err != nil {
					t.Fatal(err)
				}
				c.Close()
				return
			}
			refused, ok := errors.AsType[*fleetssh.AuthenticationError](err)
			if !ok || strings.Join(refused.Tried, " ") != strings.Trim(test.tried, "-") {
				t.Fatalf("%v", err)
			}
			if strings.Contains(err.Error(), "wrong") || strings.Contains(err.Error(), "right") {
				t.Errorf("the error contains the password: %v", err)
			}
			if n := s.Stats().Connections; n != 1 {
				t.Errorf("%d connections", n)
			}
		})
	}
}

// TestMaxAuthTries offers more keys than a host accepts on one connection.
func TestMaxAuthTries(t *testing.T) {
	t.Parallel()
	wrong := make([]ssh.Signer, 30)
	for i := range wrong {
		wrong[i] = fleettest.NewKey()
	}
	for _, test := range []struct {
		name        string
		max, before int // MaxAuthTries, and the keys before the good one
		password    bool
		connections int
		ok          bool
	}{
		{"the sixth key of six", 6, 5, false, 1, true},
		{"the seventh key", 6, 6, false, 2, true},
		{"a host that allows three", 3, 7, false, 3, true},
		{"the password comes last", 3, 4, true, 2, true},
		{"too many keys", 6, 30, false, 4, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := fleettest.NewServer(t, func(h *simfleet.Host) {
				h.MaxAuthTries = test.max
				if test.password {
					h.Password, h.AuthorizedKeys = "right", []ssh.PublicKey{fleettest.NewKey().PublicKey()}
				}
			})
			host := s.Config()
			host.Auth.Signers = append(wrong[:test.before:test.before], fleettest.ClientKey())
			if test.password {
				host.Auth.Password = "right"
			}
			c, err := fleetssh.Dial(t.Context(), host)
			if (err == nil) != test.ok {
				t.Fatalf("%v", err)
			}
			if err == nil {
				c.Close()
			} else if !strings.Contains(err.Error(), "not offered") {
				t.Errorf("%v does not say that keys were not offered", err)
			}
			if n := s.Stats().Connections; n != test.connections {
				t.Errorf("%d connections, want %d", n, test.connections)
			}
		})
	}
}

// TestKeyIsDecryptedOnce logs in to many hosts with one encrypted key and asks once for its
// passphrase.
func TestKeyIsDecryptedOnce(t *testing.T) {
	t.Parallel()
	path := filepath.Join("testdata", "id_ed25519_encrypted")
	public, err := os.ReadFile(path + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	key, _, _, _, err := ssh.ParseAuthorizedKey(public)
	if err != nil {
		t.Fatal(err)
	}
	_, hosts := fleettest.Simulated(t, 40, func(_ int, h *simfleet.Host) { h.AuthorizedKeys = []ssh.PublicKey{key} })
	var asked, overlapping atomic.Int32
	for i := range hosts {
		hosts[i].Auth = fleetssh.Auth{KeyFile: path, Ask: func(_ context.Context, q fleetssh.Question) (string, error) {
			if overlapping.Add(1) != 1 {
				t.Error("two questions at the same time")
			}
			defer overlapping.Add(-1)
			asked.Add(1)
			if !strings.Contains(q.Prompt, path) || q.Echo {
				t.Errorf("question %+v", q)
			}
			return "open sesame", nil
		}}
	}
	p := fleettest.NewFleet(t, hosts...)
	if err := p.Connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("asked %d times", n)
	}
	for _, auth := range []fleetssh.Auth{
		{KeyFile: path},
		{KeyFile: path, Passphrase: "wrong"},
		{KeyData: []byte("not a key")},
		{KeyFile: path, Passphrase: "open sesame", CertFile: "no/such/file"},
		{KeyFile: path, Passphrase: "open sesame", CertData: public},
		{CertFile: "no/such/file"},
	} {
		host := fleetssh.HostConfig{Host: "192.0.2.1", Auth: auth} // must not be contacted
		_, err := fleetssh.Dial(t.Context(), host)
		if _, ok := errors.AsType[*fleetssh.PKeyFileError](err); !ok {
			t.Errorf("%v: %v", auth, err)
		}
		if strings.Contains(fmt.Sprint(err), "sesame") || strings.Contains(fmt.Sprint(err), "wrong passphrase ") {
			t.Errorf("the error contains a secret: %v", err)
		}
	}
}

// Concurrent calls of Dial ask one question at a time.
func TestAskOneAtATime(t *testing.T) {
	t.Parallel()
	s := fleettest.NewServer(t, func(h *simfleet.Host) { h.Password = "right" })
	var now atomic.Int32
	host := s.Config()
	host.Auth = onlyGiven
	host.Auth.Ask = func(context.Context, fleetssh.Question) (string, error) {
		if now.Add(1) != 1 {
			t.Error("two questions at the same time")
		}
		defer now.Add(-1)
		<-time.After(time.Millisecond)
		return "right", nil
	}
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			c, err := fleetssh.Dial(t.Context(), host)
			if err != nil {
				t.Error(err)
				return
			}
			c.Close()
		})
	}
	wg.Wait()
}

// TestAcceptNew connects to many new hosts at the same time, with one known_hosts file.
func TestAcceptNew(t *testing.T) {
	t.Parallel()
	fleet, hosts := fleettest.Simulated(t, 60, nil)
	file := filepath.Join(t.TempDir(), "dir", "known_hosts")
	policy := &fleetssh.KnownHosts{Files: []string{file}, Unknown: fleetssh.AddUnknown}
	for i := range hosts {
		hosts[i].HostKeys = policy
	}
	if err := fleettest.NewFleet(t, hosts...).Connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	strict := &fleetssh.KnownHosts{Files: []string{file}}
	for i := range hosts {
		hosts[i].HostKeys = strict
	}
	if err := fleettest.NewFleet(t, hosts...).Connect(t.Context()); err != nil {
		t.Errorf("strict, after all keys were added: %v", err)
	}
	if err := fleet.Servers[3].SetHostKeys(fleettest.NewKey()); err != nil {
		t.Fatal(err)
	}
	for _, policy := range []fleetssh.HostKeyPolicy{strict, policy} {
		hosts[3].HostKeys = policy
		_, err := fleetssh.Dial(t.Context(), hosts[3])
		if e, ok := errors.AsType[*fleetssh.HostKeyError](err); !ok || e.Key == nil || !strings.Contains(err.Error(), file) {
			t.Errorf("changed key: %v", err)
		}
	}
	hosts[3].HostKeys = fleetssh.InsecureIgnoreHostKeys{}
	c, err := fleetssh.Dial(t.Context(), hosts[3])
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}
