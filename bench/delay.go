//go:build linux

package main

import (
	"context"
	"net"
	"path/filepath"
	"sync"
	"time"
)

// delayBuffer is how many bytes may be in flight in one direction of a connection: a long line
// holds more than a socket buffer.
const delayBuffer = 64 << 20

// serveDelay relays connections to an address, and delays each direction by half the round-trip
// time: the role of a long line.
func serveDelay(ctx context.Context, dir, to string, rtt time.Duration) error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() { acceptDelayed(ctx, listener, to, rtt) })
	s := &server{Hosts: []string{"127.0.0.1"}, Port: listener.Addr().(*net.TCPAddr).Port}
	s.KnownHosts = filepath.Join(dir, "known_hosts.delay")
	return s.serve(ctx)
}

// acceptDelayed relays connections until ctx ends.
func acceptDelayed(ctx context.Context, listener net.Listener, to string, rtt time.Duration) {
	stop := context.AfterFunc(ctx, func() { listener.Close() })
	defer stop()
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		near, err := listener.Accept()
		if err != nil {
			return
		}
		wg.Go(func() {
			defer near.Close()
			far, err := net.Dial("tcp", to)
			if err != nil {
				return
			}
			defer far.Close()
			free := context.AfterFunc(ctx, func() { near.Close(); far.Close() })
			defer free()
			var both sync.WaitGroup
			both.Go(func() { delay(far, near, rtt/2) })
			both.Go(func() { delay(near, far, rtt/2) })
			both.Wait()
		})
	}
}

// delayed is a piece of data in flight.
type delayed struct {
	due  time.Time
	data []byte
}

// delay copies from one connection to another, and delays each byte.
func delay(to, from net.Conn, by time.Duration) {
	const piece = 128 << 10
	line := make(chan delayed, delayBuffer/piece)
	buffers := sync.Pool{New: func() any { b := make([]byte, piece); return &b }}
	go func() {
		defer close(line)
		for {
			buf := buffers.Get().(*[]byte)
			n, err := from.Read((*buf)[:piece])
			if n > 0 {
				line <- delayed{time.Now().Add(by), (*buf)[:n]}
			}
			if err != nil {
				return
			}
		}
	}()
	var err error
	for d := range line {
		time.Sleep(time.Until(d.due))
		if err == nil {
			_, err = to.Write(d.data)
			if err != nil {
				from.Close() // the receiver is gone, so the sender must stop
			}
		}
		data := d.data[:cap(d.data)]
		buffers.Put(&data)
	}
	if half, ok := to.(interface{ CloseWrite() error }); ok && err == nil {
		_ = half.CloseWrite()
	}
}
