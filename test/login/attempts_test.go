package login

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"fleetssh"
	"fleetssh/internal/fleettest"
)

// If a hop cannot be reached through its own proxy, the hosts behind it share its attempts and make
// none of their own, and all get the same error.
func TestHopBehindDeadProxy(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		dial func(context.Context, string, string) (net.Conn, error)
	}{
		{"SOCKS", must(fleetssh.DialProxy("socks5://127.0.0.1:1"))},
		{"HTTP", must(fleetssh.DialProxy("http://127.0.0.1:1"))},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			hop := fleettest.NewServer(t, nil).Config()
			var dials atomic.Int32
			hop.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
				dials.Add(1)
				return test.dial(ctx, network, addr)
			}
			hop.Attempts, hop.RetryDelay = 2, 10*time.Millisecond
			host := fleettest.NewServer(t, nil).Config()
			// With this delay, an attempt by a host itself would exceed the time limit of the test.
			host.Proxy, host.Attempts, host.RetryDelay = &hop, 3, time.Hour
			hosts := make([]fleetssh.HostConfig, 20)
			for i := range hosts {
				hosts[i] = host
			}
			p := fleettest.NewFleet(t, hosts...)
			// Some hosts read the shared error while others still wait for it.
			var texts sync.Map
			var wg sync.WaitGroup
			for i := range hosts {
				wg.Go(func() {
					_, err := p.Client(fleettest.Soon(t), i)
					fleettest.AsError[*fleetssh.ProxyError](t, err)
					texts.Store(err.Error(), true)
				})
			}
			wg.Wait()
			n := 0
			texts.Range(func(text, _ any) bool {
				n++
				if !strings.Contains(text.(string), "(2 attempts)") {
					t.Error(text)
				}
				return true
			})
			fleettest.Equal(t, "different texts", n, 1)
			fleettest.Equal(t, "attempts of the hop", dials.Load(), 2)
		})
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// If a host offers no common algorithm after it has shown one key, the client stops after three
// connections.
func TestHostThatLosesItsKeys(t *testing.T) {
	t.Parallel()
	key := fleettest.NewKey()
	var connections atomic.Int32
	host := fleettest.Listening(t, key, func(raw net.Conn) {
		config := &ssh.ServerConfig{NoClientAuth: true}
		if connections.Add(1) > 1 {
			config.KeyExchanges = []string{ssh.InsecureKeyExchangeDH1SHA1}
		}
		config.AddHostKey(key)
		ssh.NewServerConn(raw, config)
	})
	host.HostKeys = knownByOtherType{}
	host.ConnectTimeout = fleettest.Patience
	if _, err := fleetssh.Dial(fleettest.Soon(t), host); err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error: %v", err)
	}
	fleettest.Equal(t, "connections", connections.Load(), 3)
}

// knownByOtherType is a policy that knows every host by a type of key that the host does not have.
type knownByOtherType struct{}

func (knownByOtherType) Algorithms(string, int) []string { return nil }

func (knownByOtherType) Check(string, int, ssh.PublicKey) error {
	return &fleetssh.HostKeyError{Err: errors.New("known by another type"), Known: []string{ssh.KeyAlgoED25519}}
}

// Output that WriteTo could not write stays in the stream, and the next call writes it.
func TestWriteToThatFails(t *testing.T) {
	t.Parallel()
	c := fleettest.NewServer(t, nil).Dial(t)
	out, err := c.RunCommand(fleettest.Soon(t), fleetssh.Command{Line: "printf 'one\\ntwo\\nthree\\nfo'; printf ur"})
	if err != nil {
		t.Fatal(err)
	}
	if err := out.WaitFinished(fleettest.Soon(t)); err != nil {
		t.Fatal(err)
	}
	for line, err := range out.Stdout.Lines(fleettest.Soon(t)) {
		if err != nil || line != "one" {
			t.Fatal(line, err)
		}
		break // the other lines are buffered, no longer in the stream
	}
	got := new(strings.Builder)
	for range 100 {
		_, err := out.Stdout.WriteTo(fullAfter{got, 2})
		if err == nil {
			break
		}
		if !errors.Is(err, errFull) {
			t.Fatal(err)
		}
	}
	fleettest.Equal(t, "written", got.String(), "two\nthree\nfour")
}

var errFull = errors.New("full")

// fullAfter accepts only the first bytes of each write.
type fullAfter struct {
	to   *strings.Builder
	most int
}

func (w fullAfter) Write(p []byte) (int, error) {
	if len(p) <= w.most {
		return w.to.Write(p)
	}
	w.to.Write(p[:w.most])
	return w.most, errFull
}
