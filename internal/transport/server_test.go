package transport

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"testing"
	"time"
)

// listen accepts connections and calls serve with each on its own goroutine. At the end of the
// test, it closes them and waits for serve.
func listen(t testing.TB, network, addr string, serve func(net.Conn)) net.Listener {
	t.Helper()
	l, err := net.Listen(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex // protects what follows
	var conns []net.Conn
	var ended bool
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, conn)
			if ended {
				conn.Close()
			}
			mu.Unlock()
			wg.Go(func() {
				defer conn.Close()
				serve(conn)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		ended = true
		for _, conn := range conns {
			conn.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return l
}

// loopback is listen on a free loopback port.
func loopback(t testing.TB, serve func(net.Conn)) (addr string) {
	t.Helper()
	return listen(t, "tcp", "127.0.0.1:0", serve).Addr().String()
}

// closedAddr returns an address that refuses connections until the end of the test: the client's
// end of a connection, on which no other process can listen.
func closedAddr(t testing.TB) string {
	t.Helper()
	conn, err := net.Dial("tcp", loopback(t, echo))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn.LocalAddr().String()
}

func echo(conn net.Conn) { carry(conn, conn) }

// carry is io.Copy without the pipes that io.Copy keeps for splicing sockets, which would count as
// leaked descriptors.
func carry(to io.Writer, from io.Reader) {
	io.Copy(struct{ io.Writer }{to}, struct{ io.Reader }{from})
}

// answering returns a serve function that answers the first bytes with a text. It then closes its
// side of the connection if hangUp is set, or sends nothing more.
func answering(text string, hangUp bool) func(net.Conn) {
	return func(conn net.Conn) {
		if _, err := conn.Read(make([]byte, 1<<10)); err != nil {
			return
		}
		io.WriteString(conn, text)
		if hangUp {
			conn.(*net.TCPConn).CloseWrite()
		}
		io.Copy(io.Discard, conn)
	}
}

const (
	secret   = "hunter2:@/ä"
	inURL    = "hunter2%3A%40%2F%C3%A4"
	greeting = "SSH-2.0-ahead\r\n" // sent together with the answer of the proxies
)

// socksServer is a SOCKS proxy that also plays the target: it connects to nothing and echoes.
type socksServer struct {
	login *login
	reply byte
	bound []byte // the type, address and port in the reply

	mu    sync.Mutex // protects what follows
	asked []string
}

func (s *socksServer) serve(conn net.Conn) {
	var head [2]byte
	read := func(n int) []byte {
		b := make([]byte, n)
		if _, err := io.ReadFull(conn, b); err != nil {
			return nil
		}
		return b
	}
	if copy(head[:], read(2)); head[0] != 5 {
		return
	}
	methods := read(int(head[1]))
	if s.login != nil {
		if len(methods) < 2 {
			conn.Write([]byte{5, 0xff})
			return
		}
		conn.Write([]byte{5, 2})
		copy(head[:], read(2))
		user := string(read(int(head[1])))
		copy(head[1:], read(1))
		if password := string(read(int(head[1]))); user != s.login.user || password != s.login.password {
			conn.Write([]byte{1, 1})
			return
		}
		conn.Write([]byte{1, 0})
	} else {
		conn.Write([]byte{5, 0})
	}
	request := read(4)
	if request == nil {
		return
	}
	var host string
	switch request[3] {
	case 1, 4:
		addr, _ := netip.AddrFromSlice(read(4 + 4*(int(request[3])-1)))
		host = addr.String()
	case 3:
		host = "name " + string(read(int(read(1)[0])))
	}
	port := read(2)
	s.mu.Lock()
	s.asked = append(s.asked, fmt.Sprintf("%s %d", host, int(port[0])<<8|int(port[1])))
	s.mu.Unlock()
	if s.reply != 0 {
		conn.Write([]byte{5, s.reply}) // and nothing else
		return
	}
	conn.Write(append(append([]byte{5, 0, 0}, s.bound...), greeting...))
	echo(conn)
}

func (s *socksServer) requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

// httpServer is an HTTP proxy that also plays the target: it connects to nothing and echoes.
type httpServer struct {
	answer string // the whole response; empty: success

	mu    sync.Mutex // protects what follows
	asked []*http.Request
}

func (s *httpServer) serve(conn net.Conn) {
	r := bufio.NewReader(conn)
	request, err := http.ReadRequest(r)
	if err != nil {
		return
	}
	s.mu.Lock()
	s.asked = append(s.asked, request)
	s.mu.Unlock()
	answer := s.answer
	if answer == "" {
		answer = "HTTP/1.1 200 Connection established\r\nVia: test\r\n\r\n" + greeting
	}
	io.WriteString(conn, answer)
	carry(conn, r)
}

func (s *httpServer) requests() []*http.Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

// overTLS returns a function that calls serve over TLS, and the root certificates for 127.0.0.1.
func overTLS(t testing.TB, serve func(net.Conn)) (func(net.Conn), *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(cert)
	config := &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	return func(conn net.Conn) { serve(tls.Server(conn, config)) }, roots
}
