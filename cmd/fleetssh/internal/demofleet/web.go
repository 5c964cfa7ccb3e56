package demofleet

import (
	"context"
	"fmt"
	"net"
	"strings"

	"fleetssh/internal/simfleet"
)

// WebPort is the port of the web servers, which only the hosts themselves can reach.
const WebPort = "9100"

// dial connects from a host of the demo: to its own web server, or to other hosts.
func dial(host string) func(ctx context.Context, network, addr string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		if _, port, err := net.SplitHostPort(addr); err != nil || port != WebPort {
			return simfleet.DialLoopback(ctx, network, addr)
		}
		ours, theirs := net.Pipe()
		go func() { // ends with the connection
			defer theirs.Close()
			page(theirs, host)
		}()
		return ours, nil
	}
}

// page answers one request.
func page(conn net.Conn, host string) {
	buf := make([]byte, 4<<10)
	for request := ""; !strings.Contains(request, "\r\n\r\n"); {
		n, err := conn.Read(buf)
		if err != nil {
			return
		}
		request += string(buf[:n])
	}
	text := "this is " + host + ", and only I can reach this port\n"
	fmt.Fprintf(conn, "HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", len(text), text)
}
