package fleetssh

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"golang.org/x/crypto/ssh"

	"fleetssh/internal/conn"
	"fleetssh/internal/deadline"
	"fleetssh/internal/transport"
)

// masterTimeout is how long a master, which is a process of this machine, may take to
// answer on its socket. It is no part of ConnectTimeout: the host gets all of that. A master
// that has been stopped is rarer than a machine that is busy with thousands of hosts, and
// whoever gives up too early logs in with keys that the user may not have.
const masterTimeout = 10 * time.Second

// throughMaster connects over the connection of an OpenSSH master, if
// HostConfig.ControlPath names one that is alive (the proxy mode of OpenSSH's
// PROTOCOL.mux). Both results are nil if there is none.
func (a *attempt) throughMaster(ctx context.Context) (*Client, error) {
	if a.login.masterless {
		return nil, nil
	}
	a.login.masterless = true // what does not answer now will not at the next attempt
	defer a.clock.Pause()()
	sockets, _ := a.host.controlSockets()
	for _, path := range sockets {
		a.phases.enter("connect")
		dialer := net.Dialer{Timeout: masterTimeout}
		transport, err := dialer.DialContext(ctx, "unix", path)
		if err != nil {
			continue // nobody is there
		}
		c, err := a.callMaster(ctx, transport, path)
		if err == nil {
			return c, nil
		}
		transport.Close()
		if ctx.Err() != nil {
			return nil, a.fail(ctx, deadline.Cause(ctx))
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			err = fmt.Errorf("no answer within %v", masterTimeout)
		}
		a.d.log.Warn("the OpenSSH master at "+path+" does not answer as one", "host", *a.host, "error", err)
	}
	return nil, nil
}

// callMaster asks the master on a socket for its connection.
func (a *attempt) callMaster(ctx context.Context, transport net.Conn, path string) (*Client, error) {
	w := conn.NewWire(transport, &a.d.streams, conn.Stall(a.host.connectTimeout()), nil)
	stop := context.AfterFunc(ctx, func() { transport.Close() })
	defer stop()
	if err := transport.SetDeadline(time.Now().Add(masterTimeout)); err != nil {
		return nil, err
	}
	link, channels, requests, err := ssh.NewControlClientConn(w)
	if err != nil {
		return nil, err
	}
	err = transport.SetDeadline(time.Time{})
	if err == nil && !stop() {
		err = deadline.Cause(ctx)
	}
	if err != nil {
		link.Close()
		conn.Drain(channels, requests)
		return nil, err
	}
	c := newClient(a, link, w, loggedIn{addr: link.RemoteAddr(), master: path})
	c.conn.Serve(channels, requests)
	return c, nil
}

// controlSockets returns where the socket of a master may be.
func (h *HostConfig) controlSockets() ([]string, error) {
	if h.ControlPath == "" || h.ControlPath == "none" {
		return nil, nil
	}
	user, err := h.login()
	if err != nil {
		return nil, err
	}
	path := transport.ControlPath{Path: h.ControlPath, Host: h.Host, Port: h.port(), User: user}
	if h.Proxy != nil {
		path.Hop = h.Proxy.name()
	}
	return path.Sockets()
}
