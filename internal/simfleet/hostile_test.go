package simfleet

import (
	"net"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

// counted is a connection that counts what is read from it.
type counted struct {
	net.Conn
	read atomic.Int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.read.Add(int64(n))
	return n, err
}

// TestStopReading checks that the hosts that read no more let in, start a command, and then
// keep whoever writes waiting; and which of them still say something.
func TestStopReading(t *testing.T) {
	t.Parallel()
	for text, says := range map[string]bool{
		"stop-reading": false, "stop-reading=run+50000": false, "stop-reading-trickle": true, "huge-window": true, "stall-rekey": true,
		"flood-requests": true, "flood-opens": true, "flood-pings": true, "flood-channel-requests": true, "flood-slowly": true,
	} {
		t.Run(text, func(t *testing.T) {
			t.Parallel()
			fault, err := ParseFault(text)
			if err != nil {
				t.Fatal(err)
			}
			s := start(t, Host{Fault: fault})
			raw, err := net.Dial("tcp", s.Addr())
			if err != nil {
				t.Fatal(err)
			}
			raw.(*net.TCPConn).SetWriteBuffer(smallBuffer)
			conn := &counted{Conn: raw}
			config := &ssh.ClientConfig{User: "alice", Auth: []ssh.AuthMethod{ssh.Password("secret")}, HostKeyCallback: ssh.FixedHostKey(s.HostKeys()[0])}
			c, channels, requests, err := ssh.NewClientConn(conn, s.Addr(), config)
			if err != nil {
				t.Fatal(err)
			}
			client := ssh.NewClient(c, channels, requests)
			defer client.Close()
			session := openSession(t, client)
			stdin, err := session.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			before := conn.read.Load()
			if err := session.Start("sleep 60"); err != nil {
				t.Fatal(err)
			}
			staysSilent(t, func() {
				// What the host says may come with its answer to the start, or before this goroutine
				// runs again. The answer and a window adjustment are shorter than this.
				const answer = 128
				deadline := time.Now().Add(patience)
				for says && conn.read.Load()-before <= answer {
					if time.Now().After(deadline) {
						t.Error("the host says nothing")
						break
					}
					<-time.After(time.Millisecond)
				}
				client.Close()
			}, func() {
				for packet := make([]byte, 32<<10); ; {
					if _, err := stdin.Write(packet); err != nil {
						return
					}
				}
			})
		})
	}
}

// TestStopReadingEarly checks the phases before a command.
func TestStopReadingEarly(t *testing.T) {
	t.Parallel()
	for _, kind := range []FaultKind{StopReading, StopReadingTrickle} {
		for _, phase := range []Phase{PhaseVersion, PhaseKex, PhaseAuth} {
			s := start(t, Host{Fault: Fault{Kind: kind, Phase: phase}})
			t.Run(string(kind)+"="+string(phase), func(t *testing.T) {
				t.Parallel()
				staysSilent(t, func() { s.Close() }, func() { login(s.Addr(), s.HostKeys()[0]) })
				if s.Stats().Logins != 0 {
					t.Error("somebody has logged in")
				}
			})
		}
	}
	for _, phase := range []Phase{PhaseOpen, PhaseExec} {
		t.Run(string(phase), func(t *testing.T) {
			t.Parallel()
			_, client := faulty(t, Fault{Kind: StopReading, Phase: phase})
			staysSilent(t, func() { client.Close() }, func() {
				if session, err := client.NewSession(); err == nil {
					session.Start("true")
				}
			})
		})
	}
}

// TestFloodOfConfirmations checks that a second confirmation comes, which ends the
// connection for x/crypto.
func TestFloodOfConfirmations(t *testing.T) {
	t.Parallel()
	_, client := faulty(t, Fault{Kind: FloodConfirmations, Phase: PhaseOpen})
	opens := client.HandleChannelOpen("any") // closed with the connection, whatever becomes of its goroutines
	go client.NewSession()                   // may hang then
	select {
	case <-opens:
	case <-time.After(patience):
		t.Error("the connection goes on")
	}
}
