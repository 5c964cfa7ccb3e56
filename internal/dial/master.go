package dial

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
)

// masterTimeout is how long a master may take to answer on its socket. It does not count towards
// ConnectTimeout, which is left to the host. A master is a local process, so ten seconds look
// long. But a machine busy with thousands of hosts is more common than a stopped master, and
// giving up too early means a login with keys that the user may not have.
const masterTimeout = 10 * time.Second

// throughMaster shares the connection of an OpenSSH master that answers on one of the sockets (the
// proxy mode of OpenSSH's PROTOCOL.mux). Both results are nil if no master answers.
func (a *attempt) throughMaster(ctx context.Context) (*Login, error) {
	if a.auth.noMaster {
		return nil, nil
	}
	a.auth.noMaster = true // the next attempt does not ask again
	defer a.clock.Pause()()
	for _, path := range a.host.Masters {
		a.phases.enter(phaseConnect)
		dialer := net.Dialer{Timeout: masterTimeout}
		transport, err := dialer.DialContext(ctx, "unix", path)
		if err != nil {
			a.d.debug("no OpenSSH master listens", a.host, "socket", path)
			continue
		}
		login, err := a.callMaster(ctx, transport, path)
		if err == nil {
			a.d.debug("the OpenSSH master shares its connection", a.host, "socket", path)
			return login, nil
		}
		transport.Close()
		if ctx.Err() != nil {
			return nil, a.fail(ctx, deadline.Cause(ctx))
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			err = fmt.Errorf("no answer within %v", masterTimeout)
		}
		a.d.warn("the OpenSSH master at "+path+" does not share its connection", a.host, "error", err)
	}
	return nil, nil
}

// callMaster asks the master on a socket to share its connection.
func (a *attempt) callMaster(ctx context.Context, transport net.Conn, path string) (*Login, error) {
	w := conn.NewWire(transport, &a.d.streams, conn.Stall(a.host.ConnectTimeout), nil)
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
	login := &Login{Addr: link.RemoteAddr(), Master: path}
	a.serve(login, link, w, channels, requests)
	return login, nil
}
