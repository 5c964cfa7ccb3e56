package simfleet

import (
	"context"
	"io"
	"net"
	"strconv"
	"sync"

	"golang.org/x/crypto/ssh"
)

// serveTunnel connects a direct-tcpip channel (RFC 4254, section 7.2) and returns when both directions have ended.
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
	defer remote.Close()
	channel, requests, err := offered.Accept()
	if err != nil {
		return
	}
	defer channel.Close()
	c.server.stats.change(func(st *Stats) { st.Tunnels++ })
	c.reached(PhaseTunnel)
	running.Go(func() {
		// The requests end with the channel or the connection; then nobody reads what the remote end says.
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
