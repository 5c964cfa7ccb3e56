package session

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"fleetssh"
	"fleetssh/internal/fleettest"
	"fleetssh/internal/sshdtest"
)

// An sshd with too many unauthenticated connections drops new ones (MaxStartups), and the client
// tries again.
func TestSSHDTroubleTooManyLogins(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	s, host := fleettest.StartSSHD(t, sshdtest.Options{Config: []string{"MaxStartups 2"}})
	host.Attempts, host.RetryDelay = 10_000, 50*time.Millisecond
	p := &fleetssh.ParallelClient{Hosts: fleetssh.Hosts(host, strings.Fields(strings.Repeat(host.Host+" ", 30))...)}
	defer p.Close()
	if err := p.Connect(fleettest.Soon(t)); err != nil {
		t.Fatal(err)
	}
	fleettest.Contains(t, s.Log(), "MaxStartups")

	_, host = fleettest.StartSSHD(t, sshdtest.Options{Config: []string{"MaxStartups 1", "LoginGraceTime 60"}})
	host.Attempts, host.RetryDelay = 2, -1
	slow := host
	asked, goOn := make(chan struct{}), make(chan struct{})
	slow.Auth = fleetssh.Auth{NoAgent: true, NoDefaultKeys: true, Ask: func(context.Context, fleetssh.Question) (string, error) {
		close(asked)
		<-goOn
		return "", os.ErrClosed
	}}
	release := sync.OnceFunc(func() { close(goOn) })
	defer release()
	done := make(chan struct{})
	go func() {
		defer close(done)
		fleetssh.Dial(fleettest.Soon(t), slow)
	}()
	<-asked
	e := fleettest.DialFails[*fleetssh.ConnectionError](t, host)
	fleettest.Equal(t, "phase", e.Phase, "handshake")
	fleettest.Equal(t, "attempts", e.Attempts, 2)
	fleettest.Contains(t, e.Error(), "closed the connection")
	release()
	<-done
}

func TestSSHDTroubleBanner(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	password := sshdtest.Accounts(t)
	banner := filepath.Join(t.TempDir(), "banner")
	if err := os.WriteFile(banner, []byte(strings.Repeat("Authorized use only!\r\n", 200)), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, config := range [][]string{nil, fleettest.OnlyInteractive} {
		s := sshdtest.Start(t, sshdtest.Options{Config: append([]string{"Banner " + banner}, config...)})
		c := fleettest.Dial(t, fleettest.HostConfig(t, s, sshdtest.Bob, fleetssh.Auth{Password: password, NoAgent: true, NoDefaultKeys: true}))
		fleettest.Equal(t, "output", fleettest.Output(t, c, "echo hello"), "hello\n")
	}
}

// Keys are re-exchanged while data flows in both directions.
func TestSSHDTroubleRekey(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	s, host := fleettest.StartSSHD(t, sshdtest.Options{Config: []string{"RekeyLimit 512K", "LogLevel DEBUG1"}})
	c := fleettest.Dial(t, host)
	data := fleettest.Noise(4 << 20)
	_, stdout, _, err := fleettest.RunCommand(t, c, fleetssh.Command{Line: "cat", Stdin: bytes.NewReader(data)})
	fleettest.Equal(t, "error", err, nil)
	fleettest.Equal(t, "output", sha256.Sum256([]byte(stdout)), sha256.Sum256(data))
	if n := strings.Count(s.Log(), "rekey in after"); n < 3 {
		t.Errorf("%d key exchanges", n)
	}
}

// The client answers a server's keep-alive probes.
func TestSSHDTroubleProbed(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	_, host := fleettest.StartSSHD(t, sshdtest.Options{Config: []string{"ClientAliveInterval 4", "ClientAliveCountMax 1"}})
	fleettest.Equal(t, "output", fleettest.Output(t, fleettest.Dial(t, host), "sleep 9; echo alive"), "alive\n")
}

// Keep-alive detects a host that hangs.
func TestSSHDTroubleFrozen(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	all := fleettest.Together{T: t}
	defer all.Wait()
	all.Run("keep-alive", func(t *testing.T) {
		s, host := fleettest.StartSSHD(t, sshdtest.Options{})
		host.KeepAlive = 2 * time.Second
		c := fleettest.Dial(t, host)
		out := fleettest.Start(t, c, fleetssh.Command{Line: "echo here; exec cat", OpenStdin: true})
		fleettest.Equal(t, "line", lineReader(t, out.Stdout)(), "here")
		defer s.PauseConnections()()
		e := fleettest.AsError[*fleetssh.ConnectionError](t, out.WaitFinished(fleettest.Soon(t)))
		fleettest.Equal(t, "phase", e.Phase, "run")
		fleettest.Equal(t, "outcome", out.Outcome(), fleetssh.Outcome{Kind: fleetssh.Lost})
		fleettest.Equal(t, "close", c.Close(), nil)
	})
	all.Run("keep-alive of one that answers", func(t *testing.T) {
		_, host := fleettest.StartSSHD(t, sshdtest.Options{})
		host.KeepAlive = 2 * time.Second
		fleettest.Equal(t, "output", fleettest.Output(t, fleettest.Dial(t, host), "sleep 9; echo alive"), "alive\n")
	})
	all.Run("open", func(t *testing.T) {
		s, host := fleettest.StartSSHD(t, sshdtest.Options{})
		host.ConnectTimeout = fleettest.Lapse
		c := fleettest.Dial(t, host)
		defer s.PauseConnections()()
		out, err := c.RunCommand(fleettest.Soon(t), fleetssh.Command{Line: "true"})
		fleettest.Equal(t, "phase", fleettest.AsError[*fleetssh.TimeoutError](t, err).Phase, "open")
		fleettest.Equal(t, "outcome", out.Outcome(), fleetssh.Outcome{Kind: fleetssh.NotStarted, Phase: "open"})
	})
	all.Run("stop", func(t *testing.T) {
		s, host := fleettest.StartSSHD(t, sshdtest.Options{})
		c := fleettest.Dial(t, host)
		marker := sshdtest.Marker()
		out := fleettest.Start(t, c, fleetssh.Command{Line: "sleep " + marker})
		fleettest.Running(t, marker, true)
		defer sshdtest.Kill(marker)
		defer s.PauseConnections()()
		begun := time.Now()
		fleettest.AsError[*fleetssh.SessionError](t, out.Stop(fleettest.Soon(t)))
		fleettest.Equal(t, "outcome", out.Outcome(), fleetssh.Outcome{Kind: fleetssh.Cancelled})
		if took := time.Since(begun); took > time.Minute {
			t.Errorf("took %v", took)
		}
	})
	all.Run("one of many", func(t *testing.T) {
		s, frozen := fleettest.StartSSHD(t, sshdtest.Options{})
		_, host := fleettest.StartSSHD(t, sshdtest.Options{})
		frozen.ConnectTimeout = fleettest.Lapse
		p := &fleetssh.ParallelClient{Hosts: []fleetssh.HostConfig{frozen, host, host}}
		defer p.Close()
		if err := p.Connect(fleettest.Soon(t)); err != nil {
			t.Fatal(err)
		}
		resume := s.PauseConnections()
		_, err := p.RunCommand(fleettest.Soon(t), fleetssh.Command{Line: "true"})
		fleettest.Equal(t, "failed", len(fleettest.AsError[*fleetssh.HostsError](t, err).Failed), 1)
		resume()
		// The dead connection was dropped: the next call makes another.
		if _, err := p.RunCommand(fleettest.Soon(t), fleetssh.Command{Line: "true"}); err != nil {
			t.Error(err)
		}
		fleettest.Equal(t, "join", p.Join(fleettest.Soon(t), nil), nil)
	})
}

// An operation that the account may not perform fails with a clear refusal.
func TestSSHDTroubleRestrictedAccount(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	user := sshdtest.CurrentUser(t)
	for _, test := range []struct{ name, config string }{
		{"not allowed", "AllowUsers another-user"},
		{"denied", "DenyUsers " + user},
		{"no keys", "PubkeyAuthentication no"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, host := fleettest.StartSSHD(t, sshdtest.Options{Config: []string{test.config}})
			host.Attempts = 3
			e := fleettest.DialFails[*fleetssh.AuthenticationError](t, host)
			fleettest.Equal(t, "user", e.User, user)
			s.Logged(t, 1, "Connection from")
		})
	}
	t.Run("forced command", func(t *testing.T) {
		_, host := fleettest.StartSSHD(t, sshdtest.Options{Config: []string{"ForceCommand echo \"not <$SSH_ORIGINAL_COMMAND>\"; exit 8"}})
		out, stdout, _, err := fleettest.RunCommand(t, fleettest.Dial(t, host), fleetssh.Command{Line: "id -un"})
		fleettest.Equal(t, "code", fleettest.AsError[*fleetssh.ExitError](t, err).Code, 8)
		fleettest.Equal(t, "output", stdout, fmt.Sprintf("not <%s>\n", out.CommandLine))
	})
}

func TestSSHDTroubleOneShot(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	s, host := fleettest.StartSSHD(t, sshdtest.Options{})
	p := &fleetssh.ParallelClient{Hosts: []fleetssh.HostConfig{host, host}, OneShot: true}
	defer p.Close()
	for range 2 {
		outs, err := p.RunCommand(fleettest.Soon(t), fleetssh.Command{Line: "echo hello"})
		if err != nil {
			t.Fatal(err)
		}
		fleettest.Equal(t, "join", p.Join(fleettest.Soon(t), outs), nil)
		fleettest.Equal(t, "output", fleettest.Text(t, outs[1].Stdout), "hello\n") // readable after the end
		sshdtest.Eventually(t, fleettest.Patience, "no connection", func() bool { return len(s.Connections()) == 0 })
	}
	s.Logged(t, 4, "Connection from")
}

// A key that takes long to sign delays only its own login.
func TestSSHDTroubleSlowSigner(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	_, host := fleettest.StartSSHD(t, sshdtest.Options{})
	slow := host
	release := make(chan struct{})
	slow.Auth.Signers = []ssh.Signer{slowSigner{host.Auth.Signers[0], release}}
	p := &fleetssh.ParallelClient{Hosts: []fleetssh.HostConfig{slow, host}}
	defer p.Close()
	connected := make(chan error, 1)
	go func() { connected <- p.Connect(fleettest.Soon(t)) }()
	if _, err := p.Client(fleettest.Soon(t), 1); err != nil {
		t.Error(err)
	}
	close(release)
	fleettest.Equal(t, "connect", <-connected, nil)
}

// slowSigner signs when it is released.
type slowSigner struct {
	ssh.Signer
	release chan struct{}
}

func (s slowSigner) Sign(rand io.Reader, data []byte) (*ssh.Signature, error) {
	<-s.release
	return s.Signer.Sign(rand, data)
}
