//go:build unix

package transport

import (
	"context"
	"net"
	"os"
	"testing"
	"time"

	"fleetssh/internal/sshdtest"
)

// TestProgramPassesDescriptor uses a program that passes the descriptor of a connection and exits.
func TestProgramPassesDescriptor(t *testing.T) {
	sshdtest.CheckLeaks(t)
	t.Setenv("SHELL", "/bin/sh")
	t.Setenv("GORACE", "atexit_sleep_ms=0") // otherwise the exit of the program takes a second
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dialer := func(line string) DialFunc {
		dial, err := Program{Line: line, PassesDescriptor: true}.Dial()
		if err != nil {
			t.Fatal(err)
		}
		return dial
	}
	pass := dialer("'" + self + "' " + asPasser + " %h %p")
	t.Run("it works", func(t *testing.T) {
		heard := 0
		ctx := WithTrace(soon(t), &Trace{Heard: func() { heard++ }})
		conn, err := pass(ctx, "tcp", loopback(t, echo))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, ok := conn.(*net.TCPConn); !ok || heard != 1 {
			t.Errorf("%T, heard %d times", conn, heard)
		}
		echoes(t, conn, "to and fro")
	})
	for _, test := range []struct{ name, line, addr, want string }{
		{"connection refused", "'" + self + "' " + asPasser + " %h %p", "127.0.0.1:1", "exited with status 7: pass: dial tcp 127.0.0.1:1"},
		{"nothing", "'" + self + "' " + asPasser + " %h %p", "web1:nothing", "ended"},
		{"not a socket", "'" + self + "' " + asPasser + " %h %p", "web1:file", "it passed no connection (ProxyUseFdpass)"},
		{"too many", "'" + self + "' " + asPasser + " %h %p", "web1:many", "it passed no connection (ProxyUseFdpass): 3 descriptors instead of one"},
		{"bytes", "echo SSH-2.0-x", "web1:22", "it passed no connection (ProxyUseFdpass): 0 descriptors instead of one"},
	} {
		t.Run(test.name, func(t *testing.T) { dialFails(soon(t), t, dialer(test.line), test.addr, test.want) })
	}
	t.Run("time-out", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		dialFails(ctx, t, dialer("sleep 4711"), "web1:22", "deadline exceeded")
	})
}

// TestProgramTrace checks when the functions of a trace are called.
func TestProgramTrace(t *testing.T) {
	sshdtest.CheckLeaks(t)
	t.Setenv("SHELL", "/bin/sh")
	dial, err := Program{Line: "echo %r %n %h"}.Dial()
	if err != nil {
		t.Fatal(err)
	}
	started, heard := 0, 0
	trace := &Trace{User: "me", Host: "web", Started: func() { started++ }, Heard: func() { heard++ }}
	conn, err := dial(WithTrace(soon(t), trace), "tcp", "web1:22")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if started != 1 || heard != 0 {
		t.Errorf("started %d times, heard %d times", started, heard)
	}
	reads(t, conn, "me web web1\n")
	if heard != 1 {
		t.Errorf("heard %d times", heard)
	}
}
