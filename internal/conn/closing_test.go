package conn

import (
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/ssh"
)

// closable is a connection that reports that it has been closed.
type closable struct {
	ssh.Conn
	closed chan struct{}
}

func (c *closable) Close() error {
	close(c.closed)
	return nil
}

// TestSendSoon checks that a message that cannot be sent closes the connection: later if others
// use it or nobody waits, and later still if something moves.
func TestSendSoon(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name  string
		send  func(*Conn, func())
		users int
		moves int64 // bytes a second
		want  time.Duration
	}{
		{"end, one user", (*Conn).EndSoon, 1, 0, CloseGrace},
		{"end, one user, a trickle", (*Conn).EndSoon, 1, 10, CloseGrace},
		{"end, several users", (*Conn).EndSoon, 2, 0, minStall},
		{"end, one user, something moves", (*Conn).EndSoon, 1, 10 * MinRate, maxSendWait},
		{"end, several users, something moves", (*Conn).EndSoon, 3, 10 * MinRate, maxSendWait},
		{"message, one user", (*Conn).SendSoon, 1, 0, minStall},
		{"message, something moves", (*Conn).SendSoon, 1, 10 * MinRate, maxSendWait},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ours, theirs := net.Pipe()
				defer ours.Close()
				defer theirs.Close()
				link := &closable{closed: make(chan struct{})}
				c := &Conn{conn: link, wire: NewWire(ours, new(atomic.Int32), 0, nil).flow, done: make(chan struct{})}
				for range test.users {
					c.Enter()
				}
				begun, free := time.Now(), make(chan struct{})
				test.send(c, func() { <-free })
				ticker := time.NewTicker(time.Second)
				defer ticker.Stop()
				for open := true; open; {
					select {
					case <-ticker.C:
						c.wire.in.Add(test.moves)
					case <-link.closed:
						open = false
					}
				}
				if took := time.Since(begun); took != test.want {
					t.Errorf("closed after %v, want %v", took, test.want)
				}
				close(free)
				c.wg.Wait()
			})
		})
	}
}
