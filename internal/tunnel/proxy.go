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
	// webHeader is the longest header of a request.
	webHeader = 64 << 10
	// webIdle is how long idle connections are kept, to callers and to targets behind hosts.
	webIdle = 90 * time.Second
	// webIdlePerHost is how many idle connections to one target are kept.
	webIdlePerHost = 4
)

// Proxy is a SOCKS and HTTP proxy (RFC 9110, section 7.7) whose names are resolved by a
// [Route].
type Proxy struct {
	route     Route
	conns     chan net.Conn // from serve to the server
	server    *http.Server
	transport *http.Transport
	forward   *httputil.ReverseProxy
	ctx       context.Context // ends with the tunnel
}

// NewProxy returns a proxy. Run must be called for HTTP to be served.
func NewProxy(logger *slog.Logger, route Route) *Proxy {
	w := &Proxy{route: route, conns: make(chan net.Conn)}
	quiet := slog.NewLogLogger(logger.Handler(), slog.LevelDebug)
	w.transport = &http.Transport{
		DialContext:         w.dial,
		DisableCompression:  true,
		MaxIdleConns:        maxCallers,
		MaxIdleConnsPerHost: webIdlePerHost,
		IdleConnTimeout:     webIdle,
	}
	w.forward = &httputil.ReverseProxy{
		Rewrite:       rewrite,
		Transport:     w.transport,
		FlushInterval: -1,
		ErrorLog:      quiet,
		ErrorHandler:  func(rw http.ResponseWriter, _ *http.Request, err error) { refuse(rw, err) },
	}
	w.server = newWebServer(w, quiet)
	return w
}

// rewrite keeps the headers about forwarding that the caller has sent: httputil removes
// them.
func rewrite(r *httputil.ProxyRequest) {
	for _, name := range []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"} {
		if values := r.In.Header.Values(name); values != nil {
			r.Out.Header[name] = values
		}
	}
}

func newWebServer(w *Proxy, quiet *log.Logger) *http.Server {
	return &http.Server{
		Handler:           w,
		ReadHeaderTimeout: helloTimeout,
		IdleTimeout:       webIdle,
		MaxHeaderBytes:    webHeader,
		ErrorLog:          quiet,
		ConnContext: func(ctx context.Context, conn net.Conn) context.Context {
			return context.WithValue(ctx, proxyConnKey{}, conn)
		},
		ConnState: func(conn net.Conn, state http.ConnState) {
			c := conn.(*proxyConn)
			switch state {
			case http.StateHijacked:
				c.taken = true
			case http.StateClosed:
				c.end()
			}
		},
		BaseContext: func(net.Listener) context.Context { return w.ctx },
	}
}

// proxyConnKey is the key of a request's *proxyConn in its context.
type proxyConnKey struct{}

// Run serves HTTP until the tunnel ends.
func (w *Proxy) Run(t *Tunnel) {
	w.ctx = t.ctx
	t.Go(func() {
		_ = w.server.Serve(&webListener{w.conns, t}) // ends with the tunnel
		w.transport.CloseIdleConnections()
	})
	t.OnEnd(func() { w.server.Close() })
}

// Serve serves a caller of the tunnel. The first byte tells SOCKS from HTTP.
func (w *Proxy) Serve(t *Tunnel, caller Caller) {
	stop := context.AfterFunc(t.ctx, func() { caller.Close() })
	_ = caller.SetReadDeadline(time.Now().Add(helloTimeout)) // it fails only on a connection that is closed
	first := make([]byte, 1)
	_, err := caller.Read(first)
	_ = caller.SetReadDeadline(time.Time{})
	stop()
	conn := &proxyConn{Caller: caller, ahead: first, ended: make(chan struct{})}
	switch {
	case err != nil:
		caller.Close()
	case first[0] == socks.Version4 || first[0] == socks.Version5:
		t.ServeSOCKS(conn, w.route)
	default:
		w.serve(t, conn)
	}
}

// serve hands a connection to the HTTP server and returns when the server is done with it.
func (w *Proxy) serve(t *Tunnel, conn *proxyConn) {
	select {
	case w.conns <- conn:
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
func (w *Proxy) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	conn := r.Context().Value(proxyConnKey{}).(*proxyConn)
	defer func() {
		if conn.taken {
			conn.end()
		}
	}()
	switch {
	case r.Method == http.MethodConnect:
		w.connect(rw, r, conn)
	case r.URL.Scheme == "http" && r.URL.Host != "":
		w.forward.ServeHTTP(rw, r)
	default:
		http.Error(rw, "fleetssh: this is a proxy, for http://HOST:PORT/ and CONNECT HOST:PORT, where HOST is a host of the fleet", http.StatusBadRequest)
	}
}

// connect serves CONNECT (RFC 9110, section 9.3.6).
func (w *Proxy) connect(rw http.ResponseWriter, r *http.Request, conn *proxyConn) {
	stream, failure := w.open(r.Context(), r.Host)
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
	conn.ahead = append([]byte(nil), ahead...)
	_, _ = io.WriteString(conn, "HTTP/1.1 200 Connection established\r\n\r\n") // the caller may be gone, which Relay finds
	Relay(w.ctx, stream, conn)
}

// open opens a channel to the port of a host.
func (w *Proxy) open(ctx context.Context, address string) (Stream, *Failure) {
	name, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, &Failure{Err: errors.New("the address must be HOST:PORT"), Cause: NotAllowed}
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return nil, &Failure{Err: fmt.Errorf("%q is no port", sanitize.Line(port)), Cause: NotAllowed}
	}
	return w.route.open(ctx, name, int(n))
}

// dial is the dial function of the HTTP transport, which goes on dialling when the request
// that asked for it has ended. So the end of the tunnel ends it, too.
func (w *Proxy) dial(ctx context.Context, _, address string) (net.Conn, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(w.ctx, cancel)()
	stream, failure := w.open(ctx, address)
	if failure != nil {
		return nil, failure.Err
	}
	return NewConn(w.ctx, stream, hostAddr(""), hostAddr(address))
}

// refuse answers a request that cannot be forwarded.
func refuse(rw http.ResponseWriter, err error) {
	status := http.StatusBadGateway
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
		status = http.StatusGatewayTimeout
	}
	http.Error(rw, "fleetssh: "+err.Error(), status)
}

// proxyConn is a connection from which some bytes have been read already.
type proxyConn struct {
	Caller
	ahead []byte

	endOnce sync.Once
	ended   chan struct{} // closed when nobody uses the connection any more
	taken   bool          // hijacked: the handler ends it, not the HTTP server
}

// Read implements [net.Conn].
func (c *proxyConn) Read(p []byte) (int, error) {
	if len(c.ahead) > 0 {
		n := copy(p, c.ahead)
		c.ahead = c.ahead[n:]
		return n, nil
	}
	return c.Caller.Read(p)
}

// SetLinger makes [Reset] work.
func (c *proxyConn) SetLinger(seconds int) error {
	if tcp, ok := c.Caller.(*net.TCPConn); ok {
		return tcp.SetLinger(seconds)
	}
	return nil
}

func (c *proxyConn) end() { c.endOnce.Do(func() { close(c.ended) }) }

// webListener gives the HTTP server its connections.
type webListener struct {
	conns  <-chan net.Conn
	tunnel *Tunnel
}

// Accept implements [net.Listener].
func (l *webListener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conns:
		return conn, nil
	case <-l.tunnel.ctx.Done():
		return nil, net.ErrClosed
	}
}

// Close implements [net.Listener]. It does nothing: the tunnel closes its own listener.
func (l *webListener) Close() error { return nil }

// Addr implements [net.Listener].
func (l *webListener) Addr() net.Addr { return l.tunnel.Addr() }
