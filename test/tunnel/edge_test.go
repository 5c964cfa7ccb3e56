package tunnel

import (
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"fleetssh"
	"fleetssh/internal/fleettest"
	"fleetssh/internal/sshdtest"
)

// A service that closes its sending direction first still receives the remaining data, through
// every kind of tunnel.
func TestSSHDTunnelServiceEndsFirst(t *testing.T) {
	sshdtest.CheckLeaks(t)
	_, host := fleettest.StartSSHD(t, sshdtest.Options{})
	c := fleettest.Dial(t, host)
	received := make(chan string, 1)
	service := fleettest.Answering(t, "tcp", func(conn net.Conn) {
		conn.Write([]byte("bye"))
		conn.(*net.TCPConn).CloseWrite()
		data, _ := io.ReadAll(conn)
		received <- string(data)
	})
	local, err := c.ForwardLocal(fleettest.Soon(t), "0", service)
	if err != nil {
		t.Fatal(err)
	}
	remote, err := c.ForwardRemote(fleettest.Soon(t), "0", service)
	if err != nil {
		t.Fatal(err)
	}
	for name, dial := range map[string]func() (net.Conn, error){
		"local":  func() (net.Conn, error) { return net.Dial("tcp", local.Addr().String()) },
		"remote": func() (net.Conn, error) { return net.Dial("tcp", remote.Addr().String()) },
		"dialed": func() (net.Conn, error) { return c.DialContext(fleettest.Soon(t), "tcp", service) },
	} {
		conn, err := dial()
		if err != nil {
			t.Fatal(err)
		}
		conn.SetDeadline(time.Now().Add(fleettest.Patience))
		if got, err := io.ReadAll(conn); err != nil || string(got) != "bye" {
			t.Errorf("%s: %q, %v", name, got, err)
		}
		const rest = 3 << 20 // more than a window
		if _, err := io.WriteString(conn, strings.Repeat("x", rest)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		conn.Close() // data written before is still sent
		select {
		case got := <-received:
			if len(got) != rest {
				t.Errorf("%s: the service received %d bytes, want %d", name, len(got), rest)
			}
		case <-fleettest.Soon(t).Done():
			t.Fatalf("%s: the service does not receive the end of the data", name)
		}
	}
}

// Listening addresses have several forms. A stale socket is replaced, but neither a socket in use
// nor another file.
func TestTunnelListens(t *testing.T) {
	sshdtest.CheckLeaks(t)
	c := fleettest.Dial(t, webHosts(t, "web1")[0])
	for listen, want := range map[string]string{
		"0": "127.0.0.1:", ":0": "127.0.0.1:", "127.0.0.1:0": "127.0.0.1:", "localhost:0": "127.0.0.1:", "[::1]:0": "[::1]:", "*:0": "[::]:", "0.0.0.0:0": "0.0.0.0:",
	} {
		tunnel, err := c.ForwardLocal(fleettest.Soon(t), listen, "9100")
		if err != nil {
			t.Errorf("%s: %v", listen, err)
			continue
		}
		if got := tunnel.Addr().String(); !strings.HasPrefix(got, want) && (listen != "0.0.0.0:0" || !strings.HasPrefix(got, "[::]:")) {
			t.Errorf("%s: %s", listen, got)
		}
		fleettest.CloseTunnel(t, tunnel)
	}
	dir := sshdtest.SharedDir(t)
	path := filepath.Join(dir, "socket")
	stale, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	if tunnel, err := c.ForwardLocal(fleettest.Soon(t), path, "9100"); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("over a socket in use: %v, %v", tunnel, err)
	}
	stale.SetUnlinkOnClose(false)
	stale.Close()
	tunnel, err := c.ForwardLocal(fleettest.Soon(t), path, "9100")
	if err != nil {
		t.Fatal(err)
	}
	fleettest.CloseTunnel(t, tunnel)
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if tunnel, err := c.ForwardLocal(fleettest.Soon(t), path, "9100"); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("over a file: %v, %v", tunnel, err)
	}
	if data, err := os.ReadFile(path); string(data) != "precious" {
		t.Errorf("%q, %v", data, err)
	}
}

// A host may open channels before it has answered with the port that it chose. The client refuses
// channels above the limit at once, and channels that wait for Accept when the listener is closed.
func TestTunnelHostOpensMany(t *testing.T) {
	sshdtest.CheckLeaks(t)
	const most, n = 1024, 1060
	for name, listen := range map[string]func(*fleetssh.Client) (net.Addr, io.Closer, error){
		"forward": func(c *fleetssh.Client) (net.Addr, io.Closer, error) {
			silent := fleettest.Answering(t, "unix", func(conn net.Conn) { io.Copy(io.Discard, conn) })
			tunnel, err := c.ForwardRemote(fleettest.Soon(t), "0", silent)
			if err != nil {
				return nil, nil, err
			}
			return tunnel.Addr(), tunnel, nil
		},
		"listen": func(c *fleetssh.Client) (net.Addr, io.Closer, error) {
			l, err := c.Listen(fleettest.Soon(t), "tcp", "127.0.0.1:0")
			if err != nil {
				return nil, nil, err
			}
			return l.Addr(), l, nil
		},
	} {
		var accepted, refused atomic.Int32
		host := openingMany(t, n, most, &accepted, &refused)
		addr, listener, err := listen(fleettest.Dial(t, host))
		if err != nil {
			t.Fatal(err)
		}
		if at := addr.String(); at != "127.0.0.1:4711" {
			t.Errorf("%s: %s", name, at)
		}
		if name == "forward" {
			fleettest.Eventually(t, "the channels", func() bool { return accepted.Load() == most })
		}
		if n := refused.Load(); n != 36 {
			t.Errorf("%s: %d channels were refused, want 36", name, n)
		}
		if err := listener.Close(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if name == "listen" {
			fleettest.Eventually(t, "all to be refused", func() bool { return refused.Load() == n })
		}
	}
}

// openingMany starts a host that opens n channels when asked to listen on a port. It answers when
// all but most of the channels have been refused.
func openingMany(t *testing.T, n, most int, accepted, refused *atomic.Int32) fleetssh.HostConfig {
	const port = 4711
	key := fleettest.NewKey()
	config := &ssh.ServerConfig{PublicKeyCallback: func(ssh.ConnMetadata, ssh.PublicKey) (*ssh.Permissions, error) { return nil, nil }}
	config.AddHostKey(key)
	return fleettest.Listening(t, key, func(raw net.Conn) {
		conn, channels, requests, err := ssh.NewServerConn(raw, config)
		if err != nil {
			return
		}
		go func() {
			for newChannel := range channels {
				newChannel.Reject(ssh.Prohibited, "")
			}
		}()
		for req := range requests {
			if req.Type != "tcpip-forward" {
				req.Reply(true, nil)
				continue
			}
			opened := make(chan struct{}, n)
			for i := range n {
				go func() {
					ch, requests, err := conn.OpenChannel("forwarded-tcpip", ssh.Marshal(struct {
						Host       string
						Port       uint32
						Origin     string
						OriginPort uint32
					}{"127.0.0.1", port, "10.0.0.1", uint32(i + 1)}))
					if e, ok := errors.AsType[*ssh.OpenChannelError](err); ok && e.Reason == ssh.ResourceShortage {
						refused.Add(1)
						opened <- struct{}{}
					} else if ok {
						refused.Add(1)
					} else if err == nil {
						accepted.Add(1)
						go ssh.DiscardRequests(requests)
						io.Copy(io.Discard, ch)
					}
				}()
			}
			for range n - most {
				<-opened // the other channels wait for the answer that follows
			}
			req.Reply(true, ssh.Marshal(struct{ Port uint32 }{port}))
		}
	})
}
