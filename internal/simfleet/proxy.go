package simfleet

import (
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// Proxy relays TCP connections to one address and adds a delay. It limits nothing but the bytes in
// flight, to 8 MiB in each direction of a connection. All its methods may be called at any time
// from any goroutine.
type Proxy struct {
	target   string
	delay    time.Duration
	listener net.Listener
	running  sync.WaitGroup

	mu sync.Mutex
	// mu protects
	closed  bool
	stalled bool
	links   map[*link]struct{}
}

// link is one connection through a proxy.
type link struct {
	near, far *net.TCPConn
	out, back *delayLine // to the target and to the client
}

// StartDelayProxy listens on a free port of 127.0.0.1 and relays connections to target, on its own
// goroutines until [Proxy.Close]. Each byte arrives rtt/2 later, and so does the end of each
// direction.
func StartDelayProxy(target string, rtt time.Duration) (*Proxy, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("start a proxy to %s: %w", target, err)
	}
	p := &Proxy{target: target, delay: rtt / 2, listener: listener, links: make(map[*link]struct{})}
	p.running.Go(p.accept)
	return p, nil
}

// Addr returns the address on which the proxy listens.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

func (p *Proxy) accept() {
	for {
		near, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.running.Go(func() { p.serve(near.(*net.TCPConn)) })
	}
}

// serve relays one connection until both directions have ended.
func (p *Proxy) serve(near *net.TCPConn) {
	far, err := net.Dial("tcp", p.target)
	if err != nil {
		near.Close()
		return
	}
	l := &link{near, far.(*net.TCPConn), newDelayLine(p.delay), newDelayLine(p.delay)}
	p.mu.Lock()
	if p.closed {
		l.cut()
	}
	l.pause(p.stalled)
	p.links[l] = struct{}{}
	p.mu.Unlock()

	var running sync.WaitGroup
	running.Go(func() { l.fill(l.out, l.near) })
	running.Go(func() { l.fill(l.back, l.far) })
	running.Go(func() { l.drain(l.far, l.out) })
	l.drain(l.near, l.back)
	running.Wait()

	l.cut()
	p.mu.Lock()
	delete(p.links, l)
	p.mu.Unlock()
}

// fill copies from a connection to a delay line.
func (l *link) fill(line *delayLine, from *net.TCPConn) {
	io.Copy(line, from)
	line.end()
}

// drain copies from a delay line to a connection.
func (l *link) drain(to *net.TCPConn, line *delayLine) {
	if _, err := io.Copy(to, line); err != nil {
		l.cut()
		return
	}
	to.CloseWrite()
}

// cut closes both connections at once.
func (l *link) cut() {
	l.out.abort()
	l.back.abort()
	l.near.Close()
	l.far.Close()
}

func (l *link) pause(paused bool) {
	l.out.pause(paused)
	l.back.pause(paused)
}

// Cut resets all connections. New ones are relayed.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.links {
		l.near.SetLinger(0)
		l.far.SetLinger(0)
		l.cut()
	}
}

// Stall stops the delivery in both directions, for present and future connections. They stay open.
func (p *Proxy) Stall() { p.stall(true) }

// Resume resumes the delivery, beginning with what arrived in the meantime.
func (p *Proxy) Resume() { p.stall(false) }

func (p *Proxy) stall(stalled bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stalled = stalled
	for l := range p.links {
		l.pause(stalled)
	}
}

// Close stops listening, closes all connections, and waits until all goroutines have ended. It may
// be called twice. It always returns nil.
func (p *Proxy) Close() error {
	p.mu.Lock()
	p.closed = true
	for l := range p.links {
		l.cut()
	}
	p.mu.Unlock()
	p.listener.Close()
	p.running.Wait()
	return nil
}
