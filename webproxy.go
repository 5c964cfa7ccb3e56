package fleetssh

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
	"time"

	"fleetssh/internal/sanitize"
)

const (
	// webHeader is the longest header of a request.
	webHeader = 64 << 10
	// webIdle is for how long connections that nobody uses are kept: of callers, and
	// of those behind hosts.
	webIdle = 90 * time.Second
	// webIdlePerHost is how many of those behind a host are kept.
	webIdlePerHost = 4
)

// webProxy is an HTTP proxy (RFC 9110, section 7.7) that reaches names by a route.
type webProxy struct {
	way       route
	conns     chan net.Conn // from serve to the server
	server    *http.Server
	transport *http.Transport
	forward   *httputil.ReverseProxy
	ctx       context.Context // ends with the tunnel
}

func newWebProxy(logger *slog.Logger, way route) *webProxy {
	w := &webProxy{way: way, conns: make(chan net.Conn)}
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

// rewrite leaves the request as the caller wants it: the package takes away what says
// by whom it was forwarded.
func rewrite(r *httputil.ProxyRequest) {
	for _, name := range []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"} {
		if values := r.In.Header.Values(name); values != nil {
			r.Out.Header[name] = values
		}
	}
}

func newWebServer(w *webProxy, quiet *log.Logger) *http.Server {
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

// proxyConnKey is where the context of a request has its *proxyConn.
type proxyConnKey struct{}

// run serves until the tunnel ends.
func (w *webProxy) run(t *Tunnel) {
	w.ctx = t.ctx
	t.spawn(func() {
		_ = w.server.Serve(&webListener{w.conns, t}) // ends with the tunnel
		w.transport.CloseIdleConnections()
	})
	t.onEnd(func() { w.server.Close() })
}

// serve hands a connection to the server, and returns when that is done with it.
func (w *webProxy) serve(t *Tunnel, conn *proxyConn) {
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
func (w *webProxy) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
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
func (w *webProxy) connect(rw http.ResponseWriter, r *http.Request, conn *proxyConn) {
	channel, err := w.open(r.Context(), r.Host)
	if err != nil {
		refuse(rw, err)
		return
	}
	_, buffered, err := http.NewResponseController(rw).Hijack()
	if err != nil {
		channel.abandon()
		return
	}
	ahead, _ := buffered.Reader.Peek(buffered.Reader.Buffered())
	conn.ahead = append([]byte(nil), ahead...)
	_, _ = io.WriteString(conn, "HTTP/1.1 200 Connection established\r\n\r\n") // it has gone, at worst
	channel.relay(w.ctx, conn)
}

// open opens a channel to the port of a host.
func (w *webProxy) open(ctx context.Context, address string) (*tunnelChannel, error) {
	name, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, &routeError{"the address must be HOST:PORT"}
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return nil, &routeError{fmt.Sprintf("%q is no port", sanitize.Line(port))}
	}
	by, to, err := w.way(name, int(n))
	if err != nil {
		return nil, err
	}
	return by.open(ctx, to)
}

// dial is the dial function of the transport, which goes on when the request that was the
// reason has ended.
func (w *webProxy) dial(ctx context.Context, _, address string) (net.Conn, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(w.ctx, cancel)()
	channel, err := w.open(ctx, address)
	if err != nil {
		return nil, err
	}
	return channel.conn(w.ctx, endpoint{host: address})
}

// refuse answers a request that leads nowhere.
func refuse(rw http.ResponseWriter, err error) {
	status := http.StatusBadGateway
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
		status = http.StatusGatewayTimeout
	}
	http.Error(rw, "fleetssh: "+err.Error(), status)
}

// webListener is where the server gets its connections from.
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

// Close implements [net.Listener]. The tunnel closes what it listens on.
func (l *webListener) Close() error { return nil }

// Addr implements [net.Listener].
func (l *webListener) Addr() net.Addr { return l.tunnel.Addr() }
