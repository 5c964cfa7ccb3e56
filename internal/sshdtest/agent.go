package sshdtest

import (
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

// Agent is a running ssh-agent.
type Agent struct {
	Socket string

	cmd    *exec.Cmd
	exited chan struct{}
}

// StartAgent starts an agent without keys. It ends with the test.
func StartAgent(t testing.TB) *Agent {
	t.Helper()
	a := &Agent{Socket: filepath.Join(SharedDir(t), "agent")}
	a.Start(t)
	t.Cleanup(a.Stop)
	return a
}

// Start starts the agent again after Stop, on the same socket and without keys.
func (a *Agent) Start(t testing.TB) {
	t.Helper()
	a.cmd = exec.Command(Program(t, "ssh-agent"), "-D", "-a", a.Socket)
	must(t, a.cmd.Start())
	a.exited = make(chan struct{})
	go func(cmd *exec.Cmd, exited chan struct{}) {
		cmd.Wait()
		close(exited)
	}(a.cmd, a.exited)
	Eventually(t, Patience, "ssh-agent listens", func() bool {
		conn, err := net.Dial("unix", a.Socket)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
}

// Stop ends the agent.
func (a *Agent) Stop() {
	a.cmd.Process.Signal(syscall.SIGTERM)
	<-a.exited
	os.Remove(a.Socket)
}

// Add adds keys to the agent.
func (a *Agent) Add(t testing.TB, keys ...*Key) {
	t.Helper()
	for _, key := range keys {
		a.add(t, agent.AddedKey{PrivateKey: key.Private})
	}
}

// AddCertificate adds a certificate with its key to the agent.
func (a *Agent) AddCertificate(t testing.TB, key *Key, cert *ssh.Certificate) {
	t.Helper()
	a.add(t, agent.AddedKey{PrivateKey: key.Private, Certificate: cert})
}

func (a *Agent) add(t testing.TB, key agent.AddedKey) {
	t.Helper()
	conn, err := net.Dial("unix", a.Socket)
	must(t, err)
	defer conn.Close()
	must(t, agent.NewClient(conn).Add(key))
}

// Relay is a socket in front of an agent that counts connections.
type Relay struct {
	Socket      string
	Connections atomic.Int32 // accepted so far
}

// StartRelay starts a relay to the agent with the socket to. It ends with the test. If to is "",
// the relay accepts connections and never answers.
func StartRelay(t testing.TB, to string) *Relay {
	t.Helper()
	r := &Relay{Socket: filepath.Join(SharedDir(t), "relay")}
	listener, err := net.Listen("unix", r.Socket)
	must(t, err)
	var wg sync.WaitGroup
	var mu sync.Mutex // protects open
	var open []net.Conn
	hold := func(c net.Conn) {
		mu.Lock()
		defer mu.Unlock()
		open = append(open, c)
	}
	wg.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			r.Connections.Add(1)
			hold(conn)
			if to == "" {
				continue
			}
			agent, err := net.Dial("unix", to)
			if err != nil {
				conn.Close()
				continue
			}
			hold(agent)
			for _, pair := range [][2]net.Conn{{conn, agent}, {agent, conn}} {
				wg.Go(func() {
					io.Copy(pair[0], pair[1])
					pair[0].Close()
				})
			}
		}
	})
	t.Cleanup(func() {
		listener.Close()
		mu.Lock()
		for _, conn := range open {
			conn.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return r
}
