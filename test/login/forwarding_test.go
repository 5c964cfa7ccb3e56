package login

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"fleetssh"
	"fleetssh/internal/fleettest"
	"fleetssh/internal/sshdtest"
)

// localAgent is an agent with one key that counts its connections.
type localAgent struct{ made, open atomic.Int32 }

// newLocalAgent starts a localAgent and points SSH_AUTH_SOCK to it.
func newLocalAgent(t *testing.T) *localAgent {
	t.Helper()
	dir, err := os.MkdirTemp("", "agent") // the test's own directory may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket := filepath.Join(dir, "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	withAgent(t, socket)
	ring := agent.NewKeyring()
	if err := ring.Add(agent.AddedKey{PrivateKey: sshdtest.NewKey(t, sshdtest.KindED25519).Private}); err != nil {
		t.Fatal(err)
	}
	a := new(localAgent)
	fleettest.Accepting(t, l, func(conn net.Conn) {
		a.made.Add(1)
		a.open.Add(1)
		defer a.open.Add(-1)
		agent.ServeAgent(binding{ring.(agent.ExtendedAgent)}, conn)
	})
	return a
}

// binding is an agent that accepts session binding.
type binding struct{ agent.ExtendedAgent }

func (binding) Extension(string, []byte) ([]byte, error) { return nil, nil }

// serveSessions answers every command with "hello". It passes a request for the agent to answer, or
// ignores it if answer is nil.
func serveSessions(channels <-chan ssh.NewChannel, answer func(*ssh.Request)) {
	var wg sync.WaitGroup
	defer wg.Wait()
	for newChannel := range channels {
		ch, requests, err := newChannel.Accept()
		if err != nil {
			return
		}
		wg.Go(func() {
			for req := range requests {
				switch req.Type {
				case "auth-agent-req@openssh.com":
					if answer != nil {
						answer(req)
					}
				case "exec":
					req.Reply(true, nil)
					io.WriteString(ch, "hello\n")
					ch.SendRequest("exit-status", false, make([]byte, 4))
					ch.Close()
				default:
					req.Reply(false, nil)
				}
			}
		})
	}
}

func granted(req *ssh.Request) { req.Reply(true, nil) }

// forwardedKeys opens a channel to the agent from the host's side and returns the number of
// keys it lists.
func forwardedKeys(conn ssh.Conn) (int, error) {
	ch, requests, err := conn.OpenChannel("auth-agent@openssh.com", nil)
	if err != nil {
		return 0, err
	}
	defer ch.Close()
	go ssh.DiscardRequests(requests)
	keys, err := agent.NewClient(struct{ io.ReadWriter }{ch}).List()
	return len(keys), err
}

// connectedTo dials a host and also returns the host's side of the connection.
func connectedTo(t testing.TB, change func(*fleetssh.HostConfig), answer func(*ssh.Request)) (*fleetssh.Client, ssh.Conn) {
	t.Helper()
	conns := make(chan ssh.Conn, 1)
	host := fleettest.Hostile(t, func(conn ssh.Conn, channels <-chan ssh.NewChannel) {
		conns <- conn
		serveSessions(channels, answer)
	})
	change(&host)
	return fleettest.Dial(t, host), <-conns
}

func forward(h *fleetssh.HostConfig) { h.ForwardAgent = true }

// A host cannot open channels that the client did not ask for, and none to the agent unless the
// agent is forwarded.
func TestHostOpensChannels(t *testing.T) {
	sshdtest.CheckLeaks(t)
	a := newLocalAgent(t)
	others := []string{
		"x11", "forwarded-tcpip", "forwarded-streamlocal@openssh.com", "direct-tcpip", "session", "tun@openssh.com",
		"auth-agent", "auth-agent@openssh.co", "auth-agent@openssh.com\x00", "AUTH-AGENT@OPENSSH.COM", "", strings.Repeat("x", 30000),
	}
	for _, test := range []struct {
		name   string
		change func(*fleetssh.HostConfig)
		types  []string
	}{
		{"no agent", func(*fleetssh.HostConfig) {}, append(others, "auth-agent@openssh.com")},
		{"agent", forward, others},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, conn := connectedTo(t, test.change, granted)
			var wg sync.WaitGroup
			for range 20 {
				for _, kind := range test.types {
					wg.Go(func() {
						_, _, err := conn.OpenChannel(kind, []byte("extra data"))
						if e, ok := errors.AsType[*ssh.OpenChannelError](err); !ok || e.Reason != ssh.Prohibited {
							t.Errorf("channel %q: %v", fleettest.Clipped(kind), err)
						}
					})
				}
			}
			wg.Wait()
			fleettest.Equal(t, "output", fleettest.Output(t, c, "any"), "hello\n")
			fleettest.Equal(t, "connections to the agent", a.made.Load(), 0)
			fleettest.ClosesPromptly(t, c)
		})
	}
}

// A host that opens channel after channel to the agent gets at most 64, and other hosts are not
// affected.
func TestHostOpensManyAgentChannels(t *testing.T) {
	const most, n = 64, 200
	bind := ssh.Marshal(struct {
		Length uint32
		Type   byte
		Name   string
	}{29, 27, "session-bind@openssh.com"})
	for _, test := range []struct {
		name     string
		sends    []byte // on each channel
		answered bool
	}{
		{"silent", nil, false},
		{"half a message", []byte{0, 0, 0, 5, 11}, false},
		{"part of a long message", append([]byte{0, 4, 0, 0}, make([]byte, 200<<10)...), false},
		{"bound sessions", bind, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			sshdtest.CheckLeaks(t)
			a := newLocalAgent(t)
			bad, badConn := connectedTo(t, forward, granted)
			good, goodConn := connectedTo(t, forward, granted)
			var accepted, refused atomic.Int32
			var wg sync.WaitGroup
			for range n {
				wg.Go(func() {
					ch, requests, err := badConn.OpenChannel("auth-agent@openssh.com", nil)
					if e, ok := errors.AsType[*ssh.OpenChannelError](err); ok && e.Reason == ssh.ResourceShortage {
						refused.Add(1)
						return
					} else if err != nil {
						t.Error(err)
						return
					}
					accepted.Add(1)
					go ssh.DiscardRequests(requests)
					ch.Write(test.sends)
					if test.answered {
						io.ReadFull(ch, make([]byte, 5))
					}
				})
			}
			wg.Wait()
			fleettest.Equal(t, "accepted", accepted.Load(), most)
			fleettest.Equal(t, "refused", refused.Load(), n-most)
			answered := make(chan error, 1)
			go func() {
				keys, err := forwardedKeys(goodConn)
				if err == nil && keys != 1 {
					err = fmt.Errorf("%d keys, want 1", keys)
				}
				answered <- err
			}()
			select {
			case err := <-answered:
				if err != nil {
					t.Error(err)
				}
			case <-time.After(fleettest.Promptly):
				t.Error("the other host got no answer")
			}
			fleettest.Equal(t, "output", fleettest.Output(t, bad, "any"), "hello\n")
			fleettest.Equal(t, "output", fleettest.Output(t, good, "any"), "hello\n")
			fleettest.ClosesPromptly(t, bad)
			fleettest.ClosesPromptly(t, good)
			fleettest.Eventually(t, "the end of all connections to the agent", func() bool { return a.open.Load() == 0 })
		})
	}
}

// A channel counts towards the limit until the host has closed it, too. Otherwise a host that never
// closes could open any number of channels, each with unread data.
func TestHostLeavesAgentChannelsOpen(t *testing.T) {
	sshdtest.CheckLeaks(t)
	newLocalAgent(t)
	const most, n = 64, 300
	results := make(chan int, 1)
	host := fleettest.RawHost(t, func(r *fleettest.RawSSH) {
		accepted := 0
		for i := range uint32(n) {
			r.WritePacket(ssh.Marshal(fleettest.OpenMsg{Type: "auth-agent@openssh.com", ID: i, Window: 1 << 20, Packet: 32 << 10}))
			theirs, ok := r.Opened()
			if !ok {
				break
			}
			accepted++
			r.WritePacket(ssh.Marshal(fleettest.DataMsg{ID: theirs, Data: "\x00\x00\x00\x00"})) // ends the relay
			if !r.Await(fleettest.MsgClose) {
				break
			}
		}
		results <- accepted
		r.Await(0) // until the connection ends
	})
	host.ForwardAgent = true
	c := fleettest.Dial(t, host)
	select {
	case accepted := <-results:
		if accepted > most {
			t.Errorf("the client accepted %d channels, the limit is %d", accepted, most)
		}
	case <-time.After(fleettest.Patience):
		t.Error("the host got no answer")
	}
	fleettest.ClosesPromptly(t, c)
}

// A host that does not answer the request for the agent delays only the sessions that wait for
// it. It is asked once.
func TestHostIgnoresAgentRequest(t *testing.T) {
	sshdtest.CheckLeaks(t)
	newLocalAgent(t)
	const limit = 5 * time.Second
	var asked atomic.Int32
	c, _ := connectedTo(t, func(h *fleetssh.HostConfig) { h.ForwardAgent, h.ConnectTimeout = true, limit }, func(*ssh.Request) { asked.Add(1) })
	begun := time.Now()
	_, err := c.OpenSession(context.Background())
	e, ok := errors.AsType[*fleetssh.TimeoutError](err)
	if !ok || e.Phase != "open" || e.Host != "127.0.0.1" {
		t.Errorf("%T: %v", err, err)
	}
	if took := time.Since(begun); took < limit || took > limit+fleettest.Promptly {
		t.Errorf("after %v", took)
	}
	var wg sync.WaitGroup
	for range 5 {
		wg.Go(func() {
			session, err := c.OpenSession(context.Background())
			if err != nil {
				t.Errorf("a later session: %v", err)
				return
			}
			session.Close()
		})
	}
	wg.Wait()
	if n := asked.Load(); n != 1 {
		t.Errorf("asked %d times", n)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := c.OpenSession(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	fleettest.ClosesPromptly(t, c)
}

// If a host refuses to forward the agent, the log has one warning and commands still run.
func TestHostRefusesAgent(t *testing.T) {
	sshdtest.CheckLeaks(t)
	a := newLocalAgent(t)
	var asked atomic.Int32
	host := fleettest.Hostile(t, func(_ ssh.Conn, channels <-chan ssh.NewChannel) {
		serveSessions(channels, func(req *ssh.Request) {
			asked.Add(1)
			req.Reply(false, nil)
		})
	})
	host.ForwardAgent, host.Alias = true, "refuser"
	var log lockedBuffer
	p := fleettest.NewFleet(t, host)
	p.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn}))
	for range 5 {
		outs, err := p.RunCommand(fleettest.Soon(t), fleetssh.Command{Line: "any"})
		if err != nil {
			t.Fatal(err)
		}
		fleettest.Equal(t, "output", fleettest.Text(t, outs[0].Stdout), "hello\n")
	}
	fleettest.Equal(t, "requests", asked.Load(), 1)
	fleettest.Equal(t, "connections to the agent", a.made.Load(), 0)
	lines := strings.Split(strings.TrimSpace(log.String()), "\n")
	fleettest.Equal(t, "warnings", len(lines), 1)
	fleettest.Contains(t, lines[0], "level=WARN", "does not forward the SSH agent", "refuser")
	fleettest.ClosesPromptly(t, p)
}

// lockedBuffer is a buffer for concurrent writers.
type lockedBuffer struct {
	mu sync.Mutex // protects the fields below
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// A key that the agent restricts to one host cannot be used by another host that the agent is
// forwarded to. OpenSSH enforces the same.
func TestForwardAgentConstrainedKey(t *testing.T) {
	sshdtest.CheckLeaks(t)
	a := sshdtest.StartAgent(t)
	withAgent(t, a.Socket)
	user := sshdtest.CurrentUser(t)
	key, login := sshdtest.NewKey(t, sshdtest.KindED25519), sshdtest.NewKey(t, sshdtest.KindED25519)
	middle, last := sshdtest.Start(t, sshdtest.Options{}), sshdtest.Start(t, sshdtest.Options{})
	middle.Authorize(t, user, login.Public())
	last.Authorize(t, user, key.Public())
	dir := t.TempDir()
	known, file, loginFile := filepath.Join(dir, "known_hosts"), filepath.Join(dir, "key"), filepath.Join(dir, "login")
	lines := append(fleettest.KnownLines(last.Address(), fleettest.KeysOf(last)...), fleettest.KnownLines(middle.Address(), fleettest.KeysOf(middle)...)...)
	if err := os.WriteFile(known, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	key.Write(t, file, "")
	login.Write(t, loginFile, "")
	if out, err := exec.Command("ssh-add", "-q", "-H", known, "-h", last.Address(), file).CombinedOutput(); err != nil {
		t.Fatalf("ssh-add: %v: %s", err, out)
	}
	os.Remove(file)
	line := func(s *sshdtest.Server, identity string) string {
		return fmt.Sprintf("ssh -A -F none -o BatchMode=yes -o UserKnownHostsFile=%s -i %s -p %d %s@%s", known, identity, s.Port, user, s.Host)
	}
	toLast := line(last, "none") + " echo there"
	if out, err := exec.Command("sh", "-c", toLast).Output(); err != nil || string(out) != "there\n" {
		t.Fatalf("ssh from this machine: %q, %v", out, err)
	}
	if out, err := exec.Command("sh", "-c", line(middle, loginFile)+" '"+toLast+"; true'").Output(); err != nil || len(out) > 0 {
		t.Fatalf("ssh through the first host: %q, %v", out, err)
	}
	host := fleettest.HostConfig(t, middle, user, fleetssh.Auth{Signers: []ssh.Signer{login.Signer}})
	host.ForwardAgent = true
	fleettest.Equal(t, "through fleetssh", fleettest.Output(t, fleettest.Dial(t, host), toLast+"; true"), "")
}
