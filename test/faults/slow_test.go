package faults

import (
	"context"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"fleetssh"
)

// slowLine is a connection that carries a limited number of bytes per second to the host. The other
// direction is not limited. The caller must close it.
type slowLine struct {
	net.Conn
	wg sync.WaitGroup
}

func newSlowLine(ctx context.Context, address string, rate int) (*slowLine, error) {
	var d net.Dialer
	far, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	defer listener.Close()
	ours, err := d.DialContext(ctx, "tcp", listener.Addr().String())
	if err != nil {
		return nil, err
	}
	theirs, err := listener.Accept()
	if err != nil {
		return nil, err
	}
	l := &slowLine{Conn: ours}
	l.wg.Go(func() {
		_, _ = io.Copy(theirs, far)
		theirs.Close()
	})
	l.wg.Go(func() {
		defer far.Close()
		const steps = 50 // per second
		ticker := time.NewTicker(time.Second / steps)
		defer ticker.Stop()
		for buf := make([]byte, rate/steps); ; <-ticker.C {
			n, err := theirs.Read(buf)
			if err != nil {
				return
			}
			if _, err := far.Write(buf[:n]); err != nil {
				return
			}
		}
	})
	return l, nil
}

// NetConn lets the library find out how many bytes the socket has not sent yet.
func (l *slowLine) NetConn() net.Conn { return l.Conn }

func (l *slowLine) Close() error {
	err := l.Conn.Close()
	l.wg.Wait()
	return err
}

// TestSlowHost checks a host behind a saturated slow line. The library does not take it for dead,
// although its answers arrive long after the time-out for a dead host, and commands that run during
// a copy succeed.
func TestSlowHost(t *testing.T) {
	t.Parallel()
	const size, rate = 640 << 10, 64 << 10
	c := &cell{t: t, name: "slow", dir: t.TempDir()}
	defer c.start()()
	host := c.config(c.good)
	host.KeepAlive, host.ConnectTimeout = 2*time.Second, 10*time.Second
	host.DialContext = func(ctx context.Context, _, address string) (net.Conn, error) {
		return newSlowLine(ctx, address, rate)
	}
	client, err := fleetssh.Dial(t.Context(), host)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	file := filepath.Join(c.dir, "file")
	if err := os.WriteFile(file, make([]byte, size), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := client.RunCommand(t.Context(), fleetssh.Command{Line: "sleep 1; echo done"})
	if err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	if _, err := client.Upload(t.Context(), file, "file", nil); err != nil {
		t.Errorf("after %v: %v", time.Since(begun), err)
	}
	if took := time.Since(begun); took < size/rate*time.Second/2 {
		t.Errorf("the line is not slow: %v", took)
	}
	if err := out.WaitFinished(t.Context()); err != nil {
		t.Error(err)
	}
	if text, err := client.Output(t.Context(), "echo alive"); err != nil || string(text) != "alive\n" {
		t.Errorf("afterwards: %q, %v", text, err)
	}
	if got, err := c.good.ReadFile("/home/alice/file"); err != nil || len(got) != size {
		t.Errorf("%d bytes arrived, %v", len(got), err)
	}
}
