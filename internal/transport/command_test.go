//go:build unix

package transport

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"fleetssh/internal/sshdtest"
)

// proxyCommand returns the dial function for a line run by /bin/sh.
func proxyCommand(t testing.TB, line string) DialFunc {
	t.Helper()
	dial, err := Program{Line: line, User: "me"}.Dial()
	if err != nil {
		t.Fatal(err)
	}
	return dial
}

// readsEnd checks that a read fails with an [*Error] whose text contains want.
func readsEnd(t testing.TB, conn net.Conn, want string) *Error {
	t.Helper()
	n, err := conn.Read(make([]byte, 1))
	if n != 0 || err == nil {
		t.Fatalf("read %d bytes, %v", n, err)
	}
	return wantError(t, err, want)
}

func TestCommandTokens(t *testing.T) {
	for _, test := range []struct {
		line    string
		program Program
		want    string // empty: an error
	}{
		{"nc %h %p", Program{}, "nc web1 22"},
		{"nc -x '%h:%p' 100%% %r%n", Program{User: "me", Host: "w"}, "nc -x 'web1:22' 100% mew"},
		{"nc %n", Program{}, "nc web1"},
		{"nc", Program{}, "nc"},
		{"nc %r", Program{User: `CORP+me@x`}, "nc CORP+me@x"},
		{"nc %r", Program{User: "grüße"}, "nc grüße"},
		{"nc %r", Program{}, ""},
		{"nc -u %r", Program{User: "user=x,target=y"}, "nc -u user=x,target=y"},
		{"nc -u %r", Program{User: "a%b"}, "nc -u a%b"},
		{"nc -u %r", Program{User: `CORP\alice`}, `nc -u 'CORP'\\'alice'`},
		{"nc -u '%r'", Program{User: "user=x"}, "nc -u 'user=x'"},
		{"nc -u '%r'", Program{User: `CORP\alice`}, ""},
		{"nc -u \"it's\" %r", Program{User: "a b$c*"}, "nc -u \"it's\" 'a b$c*'"},
		{`nc -u "a\"%r"`, Program{User: "a b"}, ""},
		{`nc -u \%r`, Program{User: "a b"}, ""},
		{"nc -u %r", Program{User: "~a"}, "nc -u '~a'"},
		{"nc -u %r", Program{User: "=a"}, "nc -u '=a'"},
		{"nc %h %n", Program{Host: "unix/run/x"}, "nc web1 unix/run/x"},
		{"nc %r", Program{User: "me;reboot"}, ""},
		{"nc %r", Program{User: "-oX"}, ""},
		{"nc %n", Program{Host: "$(reboot)"}, ""},
		{"nc %x", Program{}, ""},
		{"nc %", Program{}, ""},
		{" ", Program{}, ""},
	} {
		p := test.program
		p.Line = test.line
		_, err := p.Dial()
		got := ""
		if err == nil {
			got, err = (&command{p}).expand(map[string]string{"h": "web1", "p": "22", "r": p.User, "n": cmp.Or(p.Host, "web1")})
		}
		if got != test.want || (err == nil) != (test.want != "") {
			t.Errorf("%q: %q, %v; want %q", test.line, got, err, test.want)
		}
	}
}

// TestCommandBadHost checks that the shell cannot be reached through a host name.
func TestCommandBadHost(t *testing.T) {
	sshdtest.CheckLeaks(t)
	dial := proxyCommand(t, "echo %h %p")
	for _, addr := range []string{"$(reboot):22", "a;b:22", "-x:22", "a'b:22", "a\nb:22", "web1:22&", "web1", ":22", "a\x00:22", "a\xff:22"} {
		if e := dialFails(soon(t), t, dial, addr, ""); !e.Target {
			t.Errorf("%q: Target is not set: %v", addr, e)
		}
	}
}

func TestCommandConnects(t *testing.T) {
	sshdtest.CheckLeaks(t)
	t.Setenv("SHELL", "/bin/sh")
	t.Run("cat", func(t *testing.T) {
		conn := dialled(t, proxyCommand(t, "cat"), "web1:22")
		echoes(t, conn, "to and fro")
		if conn.LocalAddr() == nil || conn.RemoteAddr() == nil {
			t.Error("the connection has no addresses")
		}
	})
	t.Run("to a host", func(t *testing.T) {
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		big := strings.Repeat("all of it ", 1<<17)
		addr := loopback(t, echo)
		conn := dialled(t, proxyCommand(t, "'"+self+"' "+asRelay+" %h %p"), addr)
		var wg sync.WaitGroup
		wg.Go(func() { io.WriteString(conn, big) })
		reads(t, conn, big)
		wg.Wait()
	})
	t.Run("tokens", func(t *testing.T) {
		conn := dialled(t, proxyCommand(t, "echo %r@%h:%p"), "[::1]:22")
		reads(t, conn, "me@::1:22\n")
		if n, err := conn.Read(make([]byte, 1)); n != 0 || err != io.EOF {
			t.Errorf("after the end: %d, %v", n, err)
		}
	})
	t.Run("deadlines", func(t *testing.T) {
		conn := dialled(t, proxyCommand(t, "cat"), "web1:22")
		conn.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
		if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error(err)
		}
		conn.SetReadDeadline(time.Now().Add(patience))
		echoes(t, conn, "after the deadline")
	})
}

// TestCommandInherits checks that a command inherits no descriptors besides the connection and
// standard error, and runs in its own session.
func TestCommandInherits(t *testing.T) {
	sshdtest.CheckLeaks(t)
	t.Setenv("SHELL", "/bin/sh")
	loopback(t, echo) // a descriptor that it could inherit
	const list = "ls /proc/self/fd"
	// All processes may inherit descriptors from the process that started the tests.
	usual, err := exec.Command("/bin/sh", "-c", "exec "+list).Output()
	if err != nil {
		t.Fatal(err)
	}
	if got := readsAll(t, list); got != string(usual) {
		t.Errorf("descriptors %q, without the package %q", got, usual)
	}
	// The IDs of the session, the process group and the process.
	ids := strings.Fields(readsAll(t, "sh -c 'ps -o sid= -o pgid= -p $$; echo $$'"))
	if len(ids) != 3 || ids[0] != ids[2] || ids[1] != ids[2] {
		t.Errorf("session, group and process: %q", ids)
	}
}

// readsAll returns the output of a proxy command.
func readsAll(t testing.TB, line string) string {
	t.Helper()
	data, err := io.ReadAll(dialled(t, proxyCommand(t, line), "web1:22"))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// TestCommandFails checks that the error contains the standard error and the exit status of a
// command that wrote nothing.
func TestCommandFails(t *testing.T) {
	sshdtest.CheckLeaks(t)
	t.Setenv("SHELL", "/bin/sh")
	for _, test := range []struct{ line, want string }{
		{"sh -c 'echo no route >&2; exit 1'", "proxy command sh: exited with status 1: no route"},
		{"sh -c 'exit 3'", "exited with status 3"},
		{"true", "proxy command true: ended"},
		{"sh -c 'kill -TERM $$'", "ended by signal: terminated"},
		{"/no/such/program --password " + secret, "proxy command program: exited with status 127: "},
		{`sh -c 'printf "a\033[2J\n\n  b\n" >&2; exit 1'`, "status 1: a?[2J; b"},
		{`sh -c 'yes xxxxxxxxx | head -c 100000 >&2; echo end >&2; exit 1'`, "xxxxxxxxx; end"},
	} {
		t.Run(test.want, func(t *testing.T) {
			if strings.Contains(test.line, secret) {
				test.line = strings.ReplaceAll(test.line, secret, "'"+secret+"'")
			}
			conn := dialled(t, proxyCommand(t, test.line), "web1:22")
			e := readsEnd(t, conn, test.want)
			if e.Target || e.Addr != "web1:22" || len(e.Error()) > 3*tailLimit {
				t.Errorf("%+v", e)
			}
			// A write returns the same error, and often comes first.
			sshdtest.Eventually(t, patience, "writing fails", func() bool {
				_, err := conn.Write([]byte("SSH-2.0-x\r\n"))
				if err != nil {
					wantError(t, err, test.want)
				}
				return err != nil
			})
		})
	}
	t.Run("relay to a closed port", func(t *testing.T) {
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		addr := closedAddr(t)
		conn := dialled(t, proxyCommand(t, "'"+self+"' "+asRelay+" %h %p"), addr)
		conn.Write([]byte("SSH-2.0-x\r\n")) // unread data makes the end of the connection a reset
		readsEnd(t, conn, "exited with status 7: relay: dial tcp "+addr)
	})
	t.Run("runs on without output", func(t *testing.T) {
		conn := dialled(t, proxyCommand(t, "sh -c 'echo busy >&2; exec sleep 4711 <&- >&-'"), "web1:22")
		readsEnd(t, conn, "closed its output: busy")
	})
	t.Run("no shell", func(t *testing.T) {
		t.Setenv("SHELL", "/no/such/shell")
		if e := dialFails(soon(t), t, proxyCommand(t, "cat"), "web1:22", "/no/such/shell"); e.Target {
			t.Errorf("%+v", e)
		}
	})
	t.Run("context ended", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if e := dialFails(ctx, t, proxyCommand(t, "cat"), "web1:22", "canceled"); !errors.Is(e, context.Canceled) {
			t.Errorf("%+v", e)
		}
	})
}

// TestCommandClose checks that Close ends the process, even if that ignores signals, and leaves no
// zombie.
func TestCommandClose(t *testing.T) {
	sshdtest.CheckLeaks(t)
	t.Setenv("SHELL", "/bin/sh")
	for _, test := range []struct {
		name, line string
		least      time.Duration
	}{
		{"ends with its input", "sh -c 'echo $$; exec cat'", 0},
		{"ends by SIGHUP", "sh -c 'echo $$; exec sleep 4711'", inputGrace},
		{"ends by SIGKILL", "sh -c 'trap \"\" HUP TERM; echo $$; exec sleep 4711'", inputGrace + hangupGrace},
	} {
		t.Run(test.name, func(t *testing.T) {
			conn, err := proxyCommand(t, test.line)(soon(t), "tcp", "web1:22")
			if err != nil {
				t.Fatal(err)
			}
			pid := readPID(t, conn)
			begun := time.Now()
			var wg sync.WaitGroup
			for range 3 { // concurrently, and once more below
				wg.Go(func() { conn.Close() })
			}
			wg.Wait()
			if took := time.Since(begun); took < test.least || took > test.least+patience {
				t.Errorf("took %v, want at least %v", took, test.least)
			}
			conn.Close()
			if err := syscall.Kill(pid, 0); err != syscall.ESRCH {
				t.Errorf("the process still runs: %v", err)
			}
			if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
				t.Errorf("read after Close: %v", err)
			}
		})
	}
}

// TestCommandCloseGroup checks that Close ends the children of a process that waits for them.
func TestCommandCloseGroup(t *testing.T) {
	sshdtest.CheckLeaks(t)
	t.Setenv("SHELL", "/bin/sh")
	conn := dialled(t, proxyCommand(t, "sh -c 'sleep 4711 & echo $!; wait'"), "web1:22")
	pid := readPID(t, conn)
	conn.Close()
	sshdtest.Eventually(t, patience, "the child has ended", func() bool {
		stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		return len(stat) == 0 || strings.Contains(string(stat), ") Z ")
	})
}

// TestCommandCloseLeavesBackground checks that Close does not wait for processes that the command
// has left in the background.
func TestCommandCloseLeavesBackground(t *testing.T) {
	sshdtest.CheckLeaks(t)
	t.Setenv("SHELL", "/bin/sh")
	conn := dialled(t, proxyCommand(t, "sh -c 'sleep 4711 & echo $!'"), "web1:22")
	pid := readPID(t, conn)
	t.Cleanup(func() { syscall.Kill(pid, syscall.SIGKILL) })
	conn.Close()
	if err := syscall.Kill(pid, 0); err != nil {
		t.Errorf("the background process: %v", err)
	}
}

// TestCommandCloseWhileReading checks that Close ends a blocked read with net.ErrClosed.
func TestCommandCloseWhileReading(t *testing.T) {
	sshdtest.CheckLeaks(t)
	conn := dialled(t, proxyCommand(t, "cat"), "web1:22")
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
			t.Errorf("read: %v", err)
		}
	})
	conn.Close()
	wg.Wait()
}

func readPID(t testing.TB, conn net.Conn) int {
	t.Helper()
	var line []byte
	for b := make([]byte, 1); ; {
		if _, err := conn.Read(b); err != nil {
			t.Fatal(err)
		}
		if b[0] == '\n' {
			break
		}
		line = append(line, b[0])
	}
	pid, err := strconv.Atoi(string(line))
	if err != nil {
		t.Fatal(err)
	}
	return pid
}
