//go:build unix

package transport

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"syscall"
	"testing"
	"time"
)

func TestInterleave(t *testing.T) {
	t.Parallel()
	var addrs []netip.Addr
	for _, s := range []string{"2001:db8::1", "2001:db8::2", "192.0.2.1", "::ffff:192.0.2.2", "2001:db8::3"} {
		addrs = append(addrs, netip.MustParseAddr(s))
	}
	var got []string
	for _, ap := range Interleave(addrs, 22) {
		got = append(got, ap.Addr().String())
	}
	want := []string{"2001:db8::1", "192.0.2.1", "2001:db8::2", "192.0.2.2", "2001:db8::3"}
	if !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// TestConnectAny tries addresses that refuse or do not answer before the one that works.
func TestConnectAny(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}()
	good := netip.MustParseAddrPort(l.Addr().String())
	refusing := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.2"), good.Port())
	silent := silentAddr(t)
	for _, test := range []struct {
		name  string
		addrs []netip.AddrPort
		ok    bool
	}{
		{"one", []netip.AddrPort{good}, true},
		{"refusing first", []netip.AddrPort{refusing, good}, true},
		{"silent first", []netip.AddrPort{silent, good}, true},
		{"silent, refusing, good", []netip.AddrPort{silent, refusing, silent, good}, true},
		{"good first", []netip.AddrPort{good, silent}, true},
		{"none works", []netip.AddrPort{refusing, refusing}, false},
		{"no address", nil, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			conn, err := Race(ctx, nil, test.addrs)
			if (err == nil) != test.ok {
				t.Fatalf("%v", err)
			}
			if err == nil {
				if got := conn.RemoteAddr().String(); got != good.String() {
					t.Errorf("connected to %s", got)
				}
				conn.Close()
			}
		})
	}
}

// silentAddr returns an address that does not answer: a listener whose queue is full.
func silentAddr(t *testing.T) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.3:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	shrinkBacklog(t, l)
	addr := netip.MustParseAddrPort(l.Addr().String())
	for {
		conn, err := net.DialTimeout("tcp", addr.String(), 2*time.Second) // longer than a busy machine needs
		if err != nil {
			return addr
		}
		t.Cleanup(func() { conn.Close() })
	}
}

// shrinkBacklog limits the queue of a listener to one connection.
func shrinkBacklog(t *testing.T, l net.Listener) {
	t.Helper()
	raw, err := l.(*net.TCPListener).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var listenErr error
	if err := raw.Control(func(fd uintptr) { listenErr = syscall.Listen(int(fd), 0) }); err != nil || listenErr != nil {
		t.Fatal(err, listenErr)
	}
}
