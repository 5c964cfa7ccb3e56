package fleetssh

import (
	"context"
	"crypto/sha1"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"fleetssh/internal/account"
	"fleetssh/internal/conn"
	"fleetssh/internal/deadline"
)

// masterTimeout is how long a master, which is a process of this machine, may take to
// answer on its socket. It is no part of ConnectTimeout: the host gets all of that.
const masterTimeout = 2 * time.Second

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

// controlSockets returns where the socket of a master may be. OpenSSH before 9.6
// leaves hops out of %C and %j; later ones have the host of the last hop there, as it
// was written.
func (h *HostConfig) controlSockets() ([]string, error) {
	if h.ControlPath == "" || h.ControlPath == "none" {
		return nil, nil
	}
	var paths []string
	for _, hop := range []string{h.lastHop(), ""} {
		path, err := h.controlPath(hop)
		if err != nil {
			return nil, err
		}
		if len(paths) == 0 || paths[0] != path {
			paths = append(paths, path)
		}
	}
	return paths, nil
}

// lastHop returns the name of the hop in front of the host, empty if there is none.
func (h *HostConfig) lastHop() string {
	if h.Proxy == nil {
		return ""
	}
	return h.Proxy.name()
}

// controlPath replaces the tokens of ssh_config(5).
func (h *HostConfig) controlPath(hop string) (string, error) {
	login, err := h.login()
	if err != nil {
		return "", err
	}
	local := account.Current()
	name, err := os.Hostname()
	if err != nil {
		return "", err
	}
	port, host := strconv.Itoa(h.port()), strings.ToLower(h.Host)
	short, _, _ := strings.Cut(name, ".")
	values := map[byte]string{
		'%': "%",
		'C': fmt.Sprintf("%x", sha1.Sum([]byte(name+host+port+login+hop))),
		'd': local.Home, 'h': host, 'i': local.UID, 'j': hop, 'k': h.Host,
		'L': short, 'l': name, 'n': h.Host, 'p': port, 'r': login, 'u': local.Name,
	}
	var path strings.Builder
	text := account.Expand(h.ControlPath)
	for i := 0; i < len(text); i++ {
		if text[i] != '%' {
			path.WriteByte(text[i])
			continue
		}
		i++
		if i == len(text) {
			return "", errors.New(`it ends with a "%"`)
		}
		value, ok := values[text[i]]
		if ok && value == "" && (text[i] == 'u' || text[i] == 'd') {
			return "", fmt.Errorf("%q: %w", "%"+text[i:i+1], account.ErrNoEntry)
		}
		if !ok {
			return "", fmt.Errorf("%q is no token that can be replaced in it", "%"+text[i:i+1])
		}
		path.WriteString(value)
	}
	return path.String(), nil
}
