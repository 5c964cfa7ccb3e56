package tunnel

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"

	"fleetssh/internal/transport"
)

// Listen returns a tunnel that listens on an address of this machine. It calls serve for each
// connection, on a separate goroutine. serve must close the connection. If a socket file exists at
// the address and nobody listens on it, Listen replaces it.
func Listen(ctx context.Context, report func(Event), at Address, serve func(*Tunnel, ClientConn)) (*Tunnel, error) {
	listener, err := listen(ctx, at)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", at, transport.WithoutAddress(err))
	}
	t := New(report, listener.Addr())
	t.release = func() { listener.Close() }
	t.wg.Go(func() { t.accept(listener, serve) })
	return t, nil
}

func listen(ctx context.Context, at Address) (net.Listener, error) {
	var config net.ListenConfig
	if at.Path == "" {
		return config.Listen(ctx, "tcp", at.String())
	}
	listener, err := listenPrivately(ctx, at.Path)
	if !errors.Is(err, syscall.EADDRINUSE) {
		return listener, err
	}
	info, statErr := os.Lstat(at.Path)
	if statErr != nil || info.Mode().Type() != os.ModeSocket {
		return nil, err
	}
	var dialer net.Dialer
	conn, dialErr := dialer.DialContext(ctx, "unix", at.Path)
	if dialErr == nil {
		conn.Close()
		return nil, err
	}
	if !errors.Is(dialErr, syscall.ECONNREFUSED) {
		return nil, err
	}
	if err := os.Remove(at.Path); err != nil {
		return nil, err
	}
	return listenPrivately(ctx, at.Path)
}

// acceptPause and maxAcceptPause are the first and the longest pause when there are no file
// descriptors left for a connection.
const acceptPause, maxAcceptPause = 5 * time.Millisecond, time.Second

func (t *Tunnel) accept(listener net.Listener, serve func(*Tunnel, ClientConn)) {
	pause := acceptPause
	for {
		select {
		case t.slots <- struct{}{}:
		case <-t.ctx.Done():
			return
		}
		conn, err := listener.Accept()
		switch {
		case err == nil:
			pause = acceptPause
			ok := t.Go(func() {
				defer func() { <-t.slots }()
				serve(t, conn.(ClientConn))
			})
			if !ok {
				conn.Close()
				return
			}
			continue
		case t.ctx.Err() != nil:
			return
		case !errors.Is(err, syscall.EMFILE) && !errors.Is(err, syscall.ENFILE) && !errors.Is(err, syscall.ECONNABORTED):
			t.End(err)
			return
		}
		<-t.slots
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-t.ctx.Done():
			timer.Stop()
			return
		}
		pause = min(2*pause, maxAcceptPause)
	}
}
