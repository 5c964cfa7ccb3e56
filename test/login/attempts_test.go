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

// Behind a hop that cannot be reached through its own proxy, hosts do not try again what the hop
// has tried for all of them, and what they are told is the same: nobody changes it meanwhile.
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
			// Far more than the test may take, if the hosts made attempts of their own.
			host.Proxy, host.Attempts, host.RetryDelay = &hop, 3, time.Hour
			hosts := make([]fleetssh.HostConfig, 20)
			for i := range hosts {
				hosts[i] = host
			}
			p := fleettest.NewFleet(t, hosts...)
			// Whoever reads an error does so beside those who are still told it.
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

// A host that shows one key and has no algorithm in common from then on is not asked for ever.
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
	host.HostKeys = anotherKind{}
	host.ConnectTimeout = fleettest.Patience
	if _, err := fleetssh.Dial(fleettest.Soon(t), host); err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error: %v", err)
	}
	fleettest.Equal(t, "connections", connections.Load(), 3)
}

// anotherKind knows hosts by a kind of key that they do not have.
type anotherKind struct{}

func (anotherKind) Algorithms(string, int) []string { return nil }

func (anotherKind) Check(string, int, ssh.PublicKey) error {
	return &fleetssh.HostKeyError{Err: errors.New("known by another"), Known: []string{ssh.KeyAlgoED25519}}
}

// What cannot be written is still there for the next who reads.
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
		break // the others have been taken from the stream
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

// fullAfter takes so many bytes of a write.
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
