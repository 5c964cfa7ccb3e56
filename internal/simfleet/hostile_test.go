package simfleet

import (
	"net"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

// counted is a connection that counts the bytes read from it.
type counted struct {
	net.Conn
	read atomic.Int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.read.Add(int64(n))
	return n, err
}

// TestStopReading checks that a host that stops reading accepts the login, starts a command, and
// then blocks the client's writes. It also checks which of these hosts still send something.
func TestStopReading(t *testing.T) {
	t.Parallel()
	for text, sends := range map[string]bool{
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
				// The host's messages may arrive with its reply to the start of the command, or
				// before this goroutine runs again. That reply and a window adjustment together are
				// shorter than this.
				const reply = 128
				deadline := time.Now().Add(patience)
				for sends && conn.read.Load()-before <= reply {
					if time.Now().After(deadline) {
						t.Error("the host sends nothing")
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

// TestStopReadingEarly checks hosts that stop reading before a command starts.
func TestStopReadingEarly(t *testing.T) {
	t.Parallel()
	for _, kind := range []FaultKind{StopReading, StopReadingTrickle} {
		for _, phase := range []Phase{PhaseVersion, PhaseKex, PhaseAuth} {
			s := start(t, Host{Fault: Fault{Kind: kind, Phase: phase}})
			t.Run(string(kind)+"="+string(phase), func(t *testing.T) {
				t.Parallel()
				staysSilent(t, func() { s.Close() }, func() { login(s.Addr(), s.HostKeys()[0]) })
				if s.Stats().Logins != 0 {
					t.Error("the client has logged in")
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

// TestFloodOfConfirmations checks that the host sends a second confirmation: it makes x/crypto
// close the connection.
func TestFloodOfConfirmations(t *testing.T) {
	t.Parallel()
	_, client := faulty(t, Fault{Kind: FloodConfirmations, Phase: PhaseOpen})
	opens := client.HandleChannelOpen("any") // closed with the connection, even if x/crypto's goroutines hang
	go client.NewSession()                   // may never return
	select {
	case <-opens:
	case <-time.After(patience):
		t.Error("the connection stays open")
	}
}
