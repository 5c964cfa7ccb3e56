package simfleet

import (
	"context"
	"io"
	"net"
	"strconv"
	"sync"

	"golang.org/x/crypto/ssh"
)

// serveTunnel dials the destination of a direct-tcpip channel (RFC 4254, section 7.2) and relays.
// It returns when both directions have ended.
func (c *conn) serveTunnel(offered ssh.NewChannel) {
	var want struct {
		Host       string
		Port       uint32
		OriginHost string
		OriginPort uint32
	}
	if c.server.host.Dial == nil || ssh.Unmarshal(offered.ExtraData(), &want) != nil {
		offered.Reject(ssh.Prohibited, "open failed")
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var running sync.WaitGroup
	defer running.Wait()
	addr := net.JoinHostPort(want.Host, strconv.FormatUint(uint64(want.Port), 10))
	dialed := make(chan struct{})
	running.Go(func() {
		select {
		case <-c.done:
			cancel()
		case <-dialed:
		}
	})
	remote, err := c.server.host.Dial(ctx, "tcp", addr)
	close(dialed)
	if err != nil {
		offered.Reject(ssh.ConnectionFailed, err.Error())
		return
	}
	channel, requests, err := offered.Accept()
	if err != nil {
		remote.Close()
		return
	}
	c.server.stats.change(func(st *Stats) { st.Tunnels++ })
	c.reached(PhaseTunnel)
	relay(channel, requests, remote)
}

// relay copies between a channel and a connection, and returns when both directions have ended.
func relay(channel ssh.Channel, requests <-chan *ssh.Request, remote net.Conn) {
	defer remote.Close()
	defer channel.Close()
	var running sync.WaitGroup
	defer running.Wait()
	running.Go(func() {
		// The requests end with the channel or the connection. After that, nobody reads from
		// remote.
		ssh.DiscardRequests(requests)
		remote.Close()
	})
	var up sync.WaitGroup
	up.Go(func() {
		io.Copy(remote, channel)
		if half, ok := remote.(interface{ CloseWrite() error }); ok {
			half.CloseWrite()
		}
	})
	io.Copy(channel, remote)
	channel.CloseWrite()
	up.Wait()
}

// listen listens on the port that the client has requested (tcpip-forward, RFC 4254, section 7.1)
// until the connection ends.
func (c *conn) listen(sc *ssh.ServerConn, request *ssh.Request) {
	var want struct {
		Host string
		Port uint32
	}
	if ssh.Unmarshal(request.Payload, &want) != nil {
		request.Reply(false, nil)
		return
	}
	listener, err := c.server.host.Listen("tcp", net.JoinHostPort(want.Host, strconv.FormatUint(uint64(want.Port), 10)))
	if err != nil {
		request.Reply(false, nil)
		return
	}
	port := uint32(listener.Addr().(*net.TCPAddr).Port)
	var running sync.WaitGroup
	defer running.Wait()
	running.Go(func() {
		<-c.done
		listener.Close()
	})
	request.Reply(true, ssh.Marshal(struct{ Port uint32 }{port}))
	for {
		caller, err := listener.Accept()
		if err != nil {
			return
		}
		running.Go(func() {
			from := caller.RemoteAddr().(*net.TCPAddr)
			channel, requests, err := sc.OpenChannel("forwarded-tcpip", ssh.Marshal(struct {
				Host       string
				Port       uint32
				Origin     string
				OriginPort uint32
			}{want.Host, port, from.IP.String(), uint32(from.Port)}))
			if err != nil {
				caller.Close()
				return
			}
			relay(channel, requests, caller)
		})
	}
}
