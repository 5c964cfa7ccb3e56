package tunnel

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"strconv"
	"sync"
	"time"

	"fleetssh/internal/sanitize"
	"fleetssh/internal/socks"
)

const (
	// maxHeader bounds the size of the header of a request, in bytes.
	maxHeader = 64 << 10
	// idleTimeout is how long idle connections of clients and to targets are kept.
	idleTimeout = 90 * time.Second
	// idlePerTarget is the number of idle connections to one target that are kept.
	idlePerTarget = 4
)

// Proxy is a SOCKS and HTTP proxy (RFC 9110, section 7.7). A [Route] determines where names lead
// to.
type Proxy struct {
	route     Route
	conns     chan net.Conn // from serve to the server
	server    *http.Server
	transport *http.Transport
	forward   *httputil.ReverseProxy
	ctx       context.Context // ends with the tunnel
}

// NewProxy returns a proxy. Run must be called before Serve.
func NewProxy(logger *slog.Logger, route Route) *Proxy {
	p := &Proxy{route: route, conns: make(chan net.Conn)}
	quiet := slog.NewLogLogger(logger.Handler(), slog.LevelDebug)
	p.transport = &http.Transport{
		DialContext:         p.dial,
		DisableCompression:  true,
		MaxIdleConns:        maxClients,
		MaxIdleConnsPerHost: idlePerTarget,
		IdleConnTimeout:     idleTimeout,
	}
	p.forward = &httputil.ReverseProxy{
		Rewrite:       rewrite,
		Transport:     p.transport,
		FlushInterval: -1,
		ErrorLog:      quiet,
		ErrorHandler:  func(rw http.ResponseWriter, _ *http.Request, err error) { refuse(rw, err) },
	}
	p.server = newHTTPServer(p, quiet)
	return p
}

// rewrite keeps the forwarding headers that the client has sent, which httputil removes.
func rewrite(r *httputil.ProxyRequest) {
	for _, name := range []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"} {
		if values := r.In.Header.Values(name); values != nil {
			r.Out.Header[name] = values
		}
	}
}

func newHTTPServer(p *Proxy, quiet *log.Logger) *http.Server {
	return &http.Server{
		Handler:           p,
		ReadHeaderTimeout: helloTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          quiet,
		ConnContext: func(ctx context.Context, conn net.Conn) context.Context {
			return context.WithValue(ctx, proxyConnKey{}, conn)
		},
		ConnState: func(conn net.Conn, state http.ConnState) {
			c := conn.(*proxyConn)
			switch state {
			case http.StateHijacked:
				c.hijacked = true
			case http.StateClosed:
				c.end()
			}
		},
		BaseContext: func(net.Listener) context.Context { return p.ctx },
	}
}

// proxyConnKey is the key of a request's *proxyConn in its context.
type proxyConnKey struct{}

// Run serves HTTP until the tunnel ends.
func (p *Proxy) Run(t *Tunnel) {
	p.ctx = t.ctx
	t.Go(func() {
		_ = p.server.Serve(&httpListener{p.conns, t}) // ends with the tunnel
		p.transport.CloseIdleConnections()
	})
	t.OnEnd(func() { p.server.Close() })
}

// Serve serves a client of the tunnel. The first byte distinguishes SOCKS from HTTP.
func (p *Proxy) Serve(t *Tunnel, client ClientConn) {
	stop := context.AfterFunc(t.ctx, func() { client.Close() })
	_ = client.SetReadDeadline(time.Now().Add(helloTimeout)) // it fails only on a connection that is closed
	first := make([]byte, 1)
	_, err := client.Read(first)
	_ = client.SetReadDeadline(time.Time{})
	stop()
	conn := &proxyConn{ClientConn: client, unread: first, ended: make(chan struct{})}
	switch {
	case err != nil:
		client.Close()
	case first[0] == socks.Version4 || first[0] == socks.Version5:
		t.ServeSOCKS(conn, p.route)
	default:
		p.serve(t, conn)
	}
}

// serve hands a connection to the HTTP server and returns when the server is done with it.
func (p *Proxy) serve(t *Tunnel, conn *proxyConn) {
	select {
	case p.conns <- conn:
	case <-t.ctx.Done():
		conn.Close()
		return
	}
	select {
	case <-conn.ended:
	case <-t.ctx.Done():
		conn.Close()
		<-conn.ended
	}
}

// ServeHTTP implements [http.Handler].
func (p *Proxy) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	conn := r.Context().Value(proxyConnKey{}).(*proxyConn)
	defer func() {
		if conn.hijacked {
			conn.end()
		}
	}()
	switch {
	case r.Method == http.MethodConnect:
		p.connect(rw, r, conn)
	case r.URL.Scheme == "http" && r.URL.Host != "":
		p.forward.ServeHTTP(rw, r)
	default:
		http.Error(rw, "fleetssh: this is a proxy, for http://HOST:PORT/ and CONNECT HOST:PORT, where HOST is a host of the fleet", http.StatusBadRequest)
	}
}

// connect serves CONNECT (RFC 9110, section 9.3.6).
func (p *Proxy) connect(rw http.ResponseWriter, r *http.Request, conn *proxyConn) {
	stream, failure := p.open(r.Context(), r.Host)
	if failure != nil {
		refuse(rw, failure.Err)
		return
	}
	_, buffered, err := http.NewResponseController(rw).Hijack()
	if err != nil {
		stream.Abandon()
		return
	}
	ahead, _ := buffered.Reader.Peek(buffered.Reader.Buffered())
	conn.unread = append([]byte(nil), ahead...)
	_, _ = io.WriteString(conn, "HTTP/1.1 200 Connection established\r\n\r\n") // Relay finds out if the client is gone
	Relay(p.ctx, stream, conn)
}

// open opens a channel to an address in a request.
func (p *Proxy) open(ctx context.Context, address string) (Stream, *Failure) {
	name, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, &Failure{Err: errors.New("the address must be HOST:PORT"), Cause: NotAllowed}
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return nil, &Failure{Err: fmt.Errorf("%q is not a port", sanitize.Line(port)), Cause: NotAllowed}
	}
	return p.route.open(ctx, name, int(n))
}

// dial is the dial function of the HTTP transport. The transport continues to dial after the
// request has ended, so dial also ends with the tunnel.
func (p *Proxy) dial(ctx context.Context, _, address string) (net.Conn, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(p.ctx, cancel)()
	stream, failure := p.open(ctx, address)
	if failure != nil {
		return nil, failure.Err
	}
	return NewConn(p.ctx, stream, hostAddr(""), hostAddr(address))
}

// refuse answers a request that cannot be forwarded.
func refuse(rw http.ResponseWriter, err error) {
	status := http.StatusBadGateway
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
		status = http.StatusGatewayTimeout
	}
	http.Error(rw, "fleetssh: "+err.Error(), status)
}

// proxyConn is a client connection from which the first bytes have been read.
type proxyConn struct {
	ClientConn
	unread []byte // bytes that Read returns first

	endOnce  sync.Once
	ended    chan struct{} // closed when the connection is no longer used
	hijacked bool          // the handler calls end, not the HTTP server
}

// Read implements [net.Conn].
func (c *proxyConn) Read(p []byte) (int, error) {
	if len(c.unread) > 0 {
		n := copy(p, c.unread)
		c.unread = c.unread[n:]
		return n, nil
	}
	return c.ClientConn.Read(p)
}

// SetLinger is used by [Reset].
func (c *proxyConn) SetLinger(seconds int) error {
	if tcp, ok := c.ClientConn.(*net.TCPConn); ok {
		return tcp.SetLinger(seconds)
	}
	return nil
}

func (c *proxyConn) end() { c.endOnce.Do(func() { close(c.ended) }) }

// httpListener passes client connections to the HTTP server.
type httpListener struct {
	conns  <-chan net.Conn
	tunnel *Tunnel
}

// Accept implements [net.Listener].
func (l *httpListener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conns:
		return conn, nil
	case <-l.tunnel.ctx.Done():
		return nil, net.ErrClosed
	}
}

// Close implements [net.Listener]. It does nothing: the tunnel closes its own listener.
func (l *httpListener) Close() error { return nil }

// Addr implements [net.Listener].
func (l *httpListener) Addr() net.Addr { return l.tunnel.Addr() }
