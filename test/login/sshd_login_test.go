package login

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/crypto/ssh"

	"fleetssh"
	"fleetssh/internal/fleettest"
	"fleetssh/internal/sshdtest"
)

func TestSSHDLoginByPassword(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	password := sshdtest.Accounts(t)
	for _, test := range []struct {
		name   string
		config []string
	}{
		{"password", nil},
		{"password through PAM", []string{"UsePAM yes"}},
		{"keyboard-interactive", fleettest.OnlyInteractive},
		{"both", []string{"UsePAM yes", "KbdInteractiveAuthentication yes"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			sshdtest.CheckLeaks(t)
			s := sshdtest.Start(t, sshdtest.Options{Config: test.config})
			c := fleettest.Dial(t, fleettest.HostConfig(t, s, sshdtest.Bob, fleetssh.Auth{Password: password, NoAgent: true, NoDefaultKeys: true}))
			fleettest.Equal(t, "user", fleettest.Output(t, c, "id -un"), sshdtest.Bob+"\n")
		})
	}
}

// A refused password is not sent again: repeated failures lock accounts.
func TestSSHDLoginWrongPassword(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	all := fleettest.Together{T: t}
	defer all.Wait()
	sshdtest.Accounts(t)
	pam := []string{"UsePAM yes", "KbdInteractiveAuthentication yes"}
	for _, test := range []struct {
		name   string
		config []string
		log    string // log line of one refusal
		tried  []string
	}{
		{"password", nil, "Failed password for", []string{"password"}},
		{"keyboard-interactive", fleettest.OnlyInteractive, "PAM: Authentication failure", []string{"keyboard-interactive"}},
		{"both", pam, "Failed password for", []string{"password"}},
	} {
		all.Run(test.name, func(t *testing.T) {
			sshdtest.CheckLeaks(t)
			s := sshdtest.Start(t, sshdtest.Options{Config: test.config})
			host := fleettest.HostConfig(t, s, sshdtest.Bob, fleetssh.Auth{Password: "wr0ng-secret", NoAgent: true, NoDefaultKeys: true})
			host.Attempts = 5
			e := fleettest.DialFails[*fleetssh.AuthenticationError](t, host)
			if !slices.Equal(e.Tried, test.tried) {
				t.Errorf("tried %q, want %q", e.Tried, test.tried)
			}
			fleettest.Contains(t, e.Error(), s.Host, sshdtest.Bob)
			if strings.Contains(e.Error(), "wr0ng") {
				t.Errorf("the error contains the password: %v", e)
			}
			s.Logged(t, 1, "Connection from")
			s.Logged(t, 1, test.log)
			failures := strings.Count(s.Log(), "Failed password") + strings.Count(s.Log(), "PAM: Authentication failure")
			fleettest.Equal(t, "refusals", failures, 1)
		})
	}
}

func TestSSHDLoginByAsking(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	password := sshdtest.Accounts(t)
	two := sshdtest.Options{Config: fleettest.OnlyInteractive, PAMService: sshdtest.TwoRounds}
	one := sshdtest.Options{Config: fleettest.OnlyInteractive}
	direct := sshdtest.Options{}
	const mail = "Guest login ok, send your complete e-mail address as password."
	for _, test := range []struct {
		name     string
		options  sshdtest.Options
		password string
		asked    string
	}{
		{"one question", one, "", "Password:"},
		{"two rounds", two, "", "Password:; " + mail},
		{"two rounds, password given", two, password, mail},
		{"password method", direct, "", sshdtest.Bob + "@127.0.0.1's password:"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			sshdtest.CheckLeaks(t)
			s := sshdtest.Start(t, test.options)
			var asked []string
			host := fleettest.HostConfig(t, s, sshdtest.Bob, fleetssh.Auth{
				Password: test.password, NoAgent: true, NoDefaultKeys: true,
				Ask: func(_ context.Context, q fleetssh.Question) (string, error) {
					if q.Echo || q.Host != s.Host {
						t.Errorf("question %+v", q)
					}
					asked = append(asked, strings.TrimSpace(q.Prompt))
					return password, nil
				},
			})
			fleettest.Equal(t, "user", fleettest.Output(t, fleettest.Dial(t, host), "id -un"), sshdtest.Bob+"\n")
			fleettest.Equal(t, "questions", strings.Join(asked, "; "), test.asked)
		})
	}
	t.Run("second round without Ask", func(t *testing.T) {
		t.Parallel()
		s := sshdtest.Start(t, two)
		e := fleettest.DialFails[*fleetssh.AuthenticationError](t, fleettest.HostConfig(t, s, sshdtest.Bob, fleetssh.Auth{Password: password, NoAgent: true, NoDefaultKeys: true}))
		fleettest.Contains(t, e.Error(), `no answer to the question "`+mail)
	})
	t.Run("Ask fails", func(t *testing.T) {
		t.Parallel()
		s := sshdtest.Start(t, one)
		noAnswer := errors.New("no answer")
		host := fleettest.HostConfig(t, s, sshdtest.Bob, fleetssh.Auth{NoAgent: true, NoDefaultKeys: true})
		host.Auth.Ask = func(context.Context, fleetssh.Question) (string, error) { return "", noAnswer }
		_, err := fleetssh.Dial(fleettest.Soon(t), host)
		if !errors.Is(err, noAnswer) {
			t.Errorf("error %T: %v", err, err)
		}
		s.Logged(t, 1, "Connection from")
	})
}

func TestSSHDLoginSeveralMethods(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	all := fleettest.Together{T: t}
	defer all.Wait()
	password := sshdtest.Accounts(t)
	first, second := sshdtest.NewKey(t, sshdtest.KindED25519), sshdtest.NewKey(t, sshdtest.KindECDSA)
	pam := []string{"UsePAM yes", "KbdInteractiveAuthentication yes"}
	for _, test := range []struct {
		name    string
		methods string
		config  []string
		auth    fleetssh.Auth
		tried   []string // nil: the login succeeds
	}{
		{"key and password", "publickey,password", nil, fleetssh.Auth{Signers: []ssh.Signer{first.Signer}, Password: password}, nil},
		{"key and questions", "publickey,keyboard-interactive", pam, fleetssh.Auth{Signers: []ssh.Signer{first.Signer}, Password: password}, nil},
		{"password and key", "password,publickey", nil, fleetssh.Auth{Signers: []ssh.Signer{first.Signer}, Password: password}, nil},
		{"password and questions", "password,keyboard-interactive", pam, fleetssh.Auth{Password: password, NoAgent: true, NoDefaultKeys: true}, nil},
		{"two keys", "publickey,publickey", nil, fleetssh.Auth{Signers: []ssh.Signer{first.Signer, second.Signer}}, nil},
		{
			"only one of two keys", "publickey,publickey", nil, fleetssh.Auth{Signers: []ssh.Signer{first.Signer}},
			[]string{"publickey"},
		},
		{
			"key without password", "publickey,password", nil, fleetssh.Auth{Signers: []ssh.Signer{first.Signer}},
			[]string{"publickey"},
		},
		{
			"wrong second factor", "publickey,password", nil, fleetssh.Auth{Signers: []ssh.Signer{first.Signer}, Password: "wrong"},
			[]string{"publickey", "password"},
		},
	} {
		all.Run(test.name, func(t *testing.T) {
			sshdtest.CheckLeaks(t)
			s := sshdtest.Start(t, sshdtest.Options{Config: append([]string{"AuthenticationMethods " + test.methods}, test.config...)})
			s.Authorize(t, sshdtest.Bob, first.Public(), second.Public())
			host := fleettest.HostConfig(t, s, sshdtest.Bob, test.auth)
			if test.tried == nil {
				fleettest.Equal(t, "user", fleettest.Output(t, fleettest.Dial(t, host), "id -un"), sshdtest.Bob+"\n")
				return
			}
			e := fleettest.DialFails[*fleetssh.AuthenticationError](t, host)
			if !slices.Equal(e.Tried, test.tried) {
				t.Errorf("tried %q, want %q", e.Tried, test.tried)
			}
			s.Logged(t, 1, "Connection from")
		})
	}
}

func TestSSHDLoginCurrentUser(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	_, host := fleettest.StartSSHD(t, sshdtest.Options{})
	host.User = ""
	fleettest.Equal(t, "user", fleettest.Output(t, fleettest.Dial(t, host), "id -un"), sshdtest.CurrentUser(t)+"\n")
}

func TestSSHDLoginNothingToOffer(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	s := sshdtest.Start(t, sshdtest.Options{})
	e := fleettest.DialFails[*fleetssh.AuthenticationError](t, fleettest.HostConfig(t, s, "", fleetssh.Auth{NoAgent: true, NoDefaultKeys: true}))
	fleettest.Contains(t, e.Error(), "no credentials for the methods that the host allows", "publickey", "password")
	fleettest.Equal(t, "methods tried", len(e.Tried), 0)
	fleettest.Equal(t, "user", e.User, sshdtest.CurrentUser(t))
}

// An RSA key signs with SHA-2. Current servers do not accept SHA-1.
func TestSSHDLoginByRSA(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	s := sshdtest.Start(t, sshdtest.Options{Config: []string{"PubkeyAcceptedAlgorithms rsa-sha2-512", "LogLevel DEBUG2"}})
	key := sshdtest.NewKey(t, sshdtest.KindRSA)
	user := sshdtest.CurrentUser(t)
	s.Authorize(t, user, key.Public())
	fleettest.Dial(t, fleettest.HostConfig(t, s, user, fleetssh.Auth{KeyData: key.PEM(t, "")}))
	fleettest.Contains(t, s.Log(), "Accepted publickey for "+user, "pkalg rsa-sha2-512")
}

// The default key files are in the home directory.
func TestSSHDLoginDefaultFiles(t *testing.T) {
	sshdtest.CheckLeaks(t)
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("SSH_AUTH_SOCK", "")
	if err := os.Mkdir(home+"/.ssh", 0o700); err != nil {
		t.Fatal(err)
	}
	s := sshdtest.Start(t, sshdtest.Options{})
	user := sshdtest.CurrentUser(t)
	for _, kind := range sshdtest.Kinds {
		key := sshdtest.NewKey(t, kind)
		file := home + "/.ssh/id_" + kind
		key.Write(t, file, "")
		s.Authorize(t, user, key.Public())
		host := fleettest.HostConfig(t, s, user, fleetssh.Auth{})
		fleettest.Dial(t, host)
		host.Auth.NoDefaultKeys = true
		fleettest.DialFails[*fleetssh.AuthenticationError](t, host)
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
	}
	t.Run("encrypted, asked for only if the host accepts it", func(t *testing.T) {
		key := sshdtest.NewKey(t, sshdtest.KindED25519)
		key.Write(t, home+"/.ssh/id_ed25519", "s3cret")
		host := fleettest.HostConfig(t, s, user, fleetssh.Auth{})
		var asked atomic.Int32
		host.Auth.Ask = func(context.Context, fleetssh.Question) (string, error) {
			asked.Add(1)
			return "s3cret", nil
		}
		s.Authorize(t, user, key.Public())
		fleettest.Dial(t, host)
		fleettest.Equal(t, "questions", asked.Load(), 1)
		other := sshdtest.NewKey(t, sshdtest.KindED25519)
		s.Authorize(t, user, other.Public())
		asked.Store(0)
		host.Auth.Ask = func(_ context.Context, q fleetssh.Question) (string, error) {
			if strings.Contains(q.Prompt, "id_ed25519") {
				t.Errorf("asked %q for a key that the host does not accept", q.Prompt)
			}
			return "", errors.New("no password")
		}
		if _, err := fleetssh.Dial(fleettest.Soon(t), host); err == nil {
			t.Error("logged in with a key that is not authorized")
		}
	})
}
