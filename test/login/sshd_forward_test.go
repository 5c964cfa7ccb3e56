package login

import (
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"fleetssh"
	"fleetssh/internal/fleettest"
	"fleetssh/internal/sshdtest"
)

// agentWithKey starts an agent that holds one key and points SSH_AUTH_SOCK to it.
func agentWithKey(t *testing.T) (*sshdtest.Agent, *sshdtest.Key) {
	t.Helper()
	a := sshdtest.StartAgent(t)
	withAgent(t, a.Socket)
	key := sshdtest.NewKey(t, sshdtest.KindED25519)
	a.Add(t, key)
	return a, key
}

// A forwarded agent lists its keys on the host and logs in from the host.
func TestSSHDForwardAgent(t *testing.T) {
	sshdtest.CheckLeaks(t)
	_, key := agentWithKey(t)
	user := sshdtest.CurrentUser(t)
	s := sshdtest.Start(t, sshdtest.Options{Config: []string{"LogLevel DEBUG1"}})
	second := sshdtest.Start(t, sshdtest.Options{})
	s.Authorize(t, user, key.Public())
	second.Authorize(t, user, key.Public())
	host := fleettest.HostConfig(t, s, user, fleetssh.Auth{})
	host.ForwardAgent = true
	c := fleettest.Dial(t, host)

	fingerprint := ssh.FingerprintSHA256(key.Public())
	fleettest.Contains(t, fleettest.Output(t, c, "ssh-add -l"), fingerprint)
	// Every session has the agent, and the host is asked once.
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() { fleettest.Contains(t, fleettest.Output(t, c, "ssh-add -l"), fingerprint) })
	}
	wg.Wait()
	s.Logged(t, 1, "request auth-agent-req@openssh.com")

	known := filepath.Join(t.TempDir(), "known_hosts")
	if err := os.WriteFile(known, []byte(strings.Join(fleettest.KnownLines(second.Address(), fleettest.KeysOf(second)...), "\n")+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	hop := fmt.Sprintf("ssh -F none -o BatchMode=yes -o UserKnownHostsFile=%s -o IdentityFile=none -p %d %s@%s", known, second.Port, user, second.Host)
	fleettest.Equal(t, "second hop", fleettest.Output(t, c, hop+" echo there"), "there\n")
	second.Logged(t, 1, "Accepted publickey for "+user)

	// Many sessions that start at once wait for the answer to one request.
	s2 := sshdtest.Start(t, sshdtest.Options{Config: []string{"LogLevel DEBUG1"}})
	s2.Authorize(t, user, key.Public())
	host2 := fleettest.HostConfig(t, s2, user, fleetssh.Auth{})
	host2.ForwardAgent = true
	c2 := fleettest.Dial(t, host2)
	for range 20 {
		wg.Go(func() { fleettest.Contains(t, fleettest.Output(t, c2, "ssh-add -l"), fingerprint) })
	}
	wg.Wait()
	s2.Logged(t, 1, "request auth-agent-req@openssh.com")
}

// Forwarding is off by default, a host may refuse it, and it needs a local agent.
func TestSSHDForwardAgentOff(t *testing.T) {
	sshdtest.CheckLeaks(t)
	_, key := agentWithKey(t)
	user := sshdtest.CurrentUser(t)
	for _, test := range []struct {
		name    string
		forward bool
		config  []string
	}{
		{"not asked for", false, nil},
		{"refused", true, []string{"AllowAgentForwarding no"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := sshdtest.Start(t, sshdtest.Options{Config: append([]string{"LogLevel DEBUG1"}, test.config...)})
			s.Authorize(t, user, key.Public())
			host := fleettest.HostConfig(t, s, user, fleetssh.Auth{})
			host.ForwardAgent = test.forward
			c := fleettest.Dial(t, host)
			fleettest.Equal(t, "socket", fleettest.Output(t, c, `echo "<$SSH_AUTH_SOCK>"`), "<>\n")
			fleettest.Equal(t, "again", fleettest.Output(t, c, `echo "<$SSH_AUTH_SOCK>"`), "<>\n")
			times := 0
			if test.forward {
				times = 1
			}
			s.Logged(t, times, "request auth-agent-req@openssh.com")
			if !test.forward {
				fleettest.Equal(t, "agent", c.Host().ForwardAgent, false)
			}
		})
	}
}

// Without an agent, commands still run and the log has a warning.
func TestSSHDForwardNoAgent(t *testing.T) {
	sshdtest.CheckLeaks(t)
	t.Setenv("SSH_AUTH_SOCK", "")
	user := sshdtest.CurrentUser(t)
	key := sshdtest.NewKey(t, sshdtest.KindED25519)
	s := sshdtest.Start(t, sshdtest.Options{})
	s.Authorize(t, user, key.Public())
	file := filepath.Join(t.TempDir(), "key")
	key.Write(t, file, "")
	host := fleettest.HostConfig(t, s, user, fleetssh.Auth{KeyFile: file})
	host.ForwardAgent = true
	var log strings.Builder
	p := fleettest.NewFleet(t, host)
	p.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn}))
	c, err := p.Client(fleettest.Soon(t), 0)
	if err != nil {
		t.Fatal(err)
	}
	fleettest.Equal(t, "socket", fleettest.Output(t, c, `echo "<$SSH_AUTH_SOCK>"`), "<>\n")
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	fleettest.Contains(t, log.String(), "there is no SSH agent to forward: SSH_AUTH_SOCK is not set")
}

// A host that opens silent channels to the agent does not affect other hosts, and leaves
// nothing behind when it ends.
func TestSSHDForwardAgentManyChannels(t *testing.T) {
	sshdtest.CheckLeaks(t)
	a, key := agentWithKey(t)
	relay := sshdtest.StartRelay(t, a.Socket)
	t.Setenv("SSH_AUTH_SOCK", relay.Socket)
	user := sshdtest.CurrentUser(t)
	s := sshdtest.Start(t, sshdtest.Options{})
	s.Authorize(t, user, key.Public())
	host := fleettest.HostConfig(t, s, user, fleetssh.Auth{Signers: []ssh.Signer{key.Signer}})
	host.ForwardAgent = true
	c := fleettest.Dial(t, host)
	socket := strings.TrimSpace(fleettest.Output(t, c, "echo $SSH_AUTH_SOCK; exec sleep 0.1"))
	// The socket lives as long as the session that asked for it.
	holder, err := c.Execute(fleettest.Soon(t), "echo $SSH_AUTH_SOCK; exec cat")
	if err != nil {
		t.Fatal(err)
	}
	for line := range holder.Stdout.Lines(fleettest.Soon(t)) {
		socket = line
		break
	}
	var open []net.Conn
	for range 100 {
		conn, err := net.Dial("unix", socket)
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, conn)
	}
	before := relay.Connections.Load()
	// At most 64 channels are open at once; the client refuses the others.
	served, refused := 0, 0
	for _, conn := range open {
		keys, err := agent.NewClient(conn).List()
		if err == nil && len(keys) == 1 {
			served++
		} else {
			refused++
		}
	}
	fleettest.Equal(t, "served", served, 64)
	fleettest.Equal(t, "refused", refused, 36)
	fleettest.Equal(t, "connections to the agent", relay.Connections.Load()-before, int32(served))
	for _, conn := range open {
		conn.Close()
	}
	// New channels are accepted again.
	sshdtest.Eventually(t, fleettest.Patience, "room for another channel", func() bool {
		conn, err := net.Dial("unix", socket)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_, err = agent.NewClient(conn).List()
		return err == nil
	})
	// The agent stops and is restarted.
	a.Stop()
	conn, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := agent.NewClient(conn).List(); err == nil {
		t.Error("a stopped agent has listed keys")
	}
	conn.Close()
	a.Start(t)
	a.Add(t, key)
	sshdtest.Eventually(t, fleettest.Patience, "the agent to answer again", func() bool {
		out, err := c.Output(fleettest.Soon(t), "SSH_AUTH_SOCK="+socket+" ssh-add -l")
		return err == nil && strings.Contains(string(out), "ED25519")
	})
	holder.Close()
}
