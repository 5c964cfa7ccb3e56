//go:build linux

package main

import (
	"context"
	"net"
	"path/filepath"
	"sync"
	"time"
)

// delayRoom is how many bytes may be on their way in one direction of a connection: as
// a long line holds them, and no socket here.
const delayRoom = 64 << 20

// serveDelay carries connections to an address and delays what goes over them, in each
// direction by half the round-trip time: the role of a long line.
func serveDelay(ctx context.Context, dir, to string, trip time.Duration) error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() { acceptDelayed(ctx, listener, to, trip) })
	s := &server{Hosts: []string{"127.0.0.1"}, Port: listener.Addr().(*net.TCPAddr).Port}
	s.KnownHosts = filepath.Join(dir, "known_hosts.delay")
	return s.serve(ctx)
}

// acceptDelayed carries connections until ctx ends.
func acceptDelayed(ctx context.Context, listener net.Listener, to string, trip time.Duration) {
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
			both.Go(func() { delay(far, near, trip/2) })
			both.Go(func() { delay(near, far, trip/2) })
			both.Wait()
		})
	}
}

// delayed is a piece on its way.
type delayed struct {
	due  time.Time
	data []byte
}

// delay copies from one connection to another, each byte after a time.
func delay(to, from net.Conn, by time.Duration) {
	const piece = 128 << 10
	line := make(chan delayed, delayRoom/piece)
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
				from.Close() // nobody takes it any more
			}
		}
		data := d.data[:cap(d.data)]
		buffers.Put(&data)
	}
	if half, ok := to.(interface{ CloseWrite() error }); ok && err == nil {
		_ = half.CloseWrite()
	}
}
