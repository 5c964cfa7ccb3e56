package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"fleetssh/internal/sshdtest"
)

// asRelay, as the first argument, makes the test binary a proxy command. It relays between its
// standard input and output and the host and port in the other arguments.
const asRelay = "relay"

// asPasser makes it a proxy command that passes the descriptor of such a connection
// (ProxyUseFdpass). Special ports make it pass something else: see pass.
const asPasser = "pass"

// TestMain checks after all tests that no descriptor has leaked.
func TestMain(m *testing.M) {
	if len(os.Args) == 4 && os.Args[1] == asRelay {
		os.Exit(relay(os.Args[2], os.Args[3]))
	}
	if len(os.Args) == 4 && os.Args[1] == asPasser {
		os.Exit(pass(os.Args[2], os.Args[3]))
	}
	before := openFiles()
	code := m.Run()
	for end := time.Now().Add(patience); ; {
		var left []string
		for name, n := range openFiles() {
			if n > before[name] {
				left = append(left, fmt.Sprintf("%d descriptors of %s", n-before[name], name))
			}
		}
		if len(left) == 0 {
			os.Exit(code)
		}
		if time.Now().After(end) {
			fmt.Fprintf(os.Stderr, "left behind by the tests:\n%s\n", strings.Join(left, "\n"))
			os.Exit(1)
		}
		<-time.After(20 * time.Millisecond)
	}
}

func relay(host, port string) int {
	conn, err := net.Dial("tcp", net.JoinHostPort(host, port))
	if err != nil {
		fmt.Fprintln(os.Stderr, "relay:", err)
		return 7
	}
	defer conn.Close()
	go func() {
		io.Copy(conn, os.Stdin)
		conn.(*net.TCPConn).CloseWrite()
	}()
	io.Copy(os.Stdout, conn)
	return 0
}

// openFiles counts the open descriptors by kind. It leaves out those of the runtime.
func openFiles() map[string]int {
	kinds := make(map[string]int)
	links, _ := filepath.Glob("/proc/self/fd/*")
	for _, link := range links {
		if target, err := os.Readlink(link); err == nil && !strings.HasPrefix(target, "anon_inode") {
			kind, _, _ := strings.Cut(target, ":")
			kinds[kind]++
		}
	}
	return kinds
}

// patience limits how long a test waits for something that should happen at once.
const patience = sshdtest.Patience

// soon returns a context that ends after patience.
func soon(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// dialled returns a connection that is closed after the test.
func dialled(t testing.TB, dial DialFunc, addr string) net.Conn {
	t.Helper()
	conn, err := dial(soon(t), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(patience))
	return conn
}

// dialFails checks that dial returns an *Error whose text contains want.
func dialFails(ctx context.Context, t testing.TB, dial DialFunc, addr, want string) *Error {
	t.Helper()
	conn, err := dial(ctx, "tcp", addr)
	if err == nil {
		conn.Close()
		t.Fatalf("connected, want an error with %q", want)
	}
	return wantError(t, err, want)
}

func wantError(t testing.TB, err error, want string) *Error {
	t.Helper()
	e, ok := errors.AsType[*Error](err)
	if !ok {
		t.Fatalf("error %T: %v; want an *Error", err, err)
	}
	if !strings.Contains(e.Error(), want) {
		t.Errorf("error %q, want %q in it", e, want)
	}
	if strings.Contains(e.Error(), secret) || strings.Contains(e.Proxy, secret) {
		t.Errorf("error %q contains the password", e)
	}
	return e
}

// echoes sends a text and checks that it comes back.
func echoes(t testing.TB, conn net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	reads(t, conn, text)
}

func reads(t testing.TB, conn net.Conn, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != want {
		t.Fatalf("read %q, %v; want %q", got, err, want)
	}
}
