package session

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"fleetssh"
	"fleetssh/internal/fleettest"
	"fleetssh/internal/sshdtest"
)

func TestSSHDStreams(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	_, host := fleettest.StartSSHD(t, sshdtest.Options{})
	c := fleettest.Dial(t, host)
	t.Run("separate streams", func(t *testing.T) {
		_, stdout, stderr, err := fleettest.RunCommand(t, c, fleetssh.Command{
			Line: "i=0; while [ $i -lt 1000 ]; do echo out $i; echo err $i >&2; i=$((i+1)); done",
		})
		fleettest.Equal(t, "error", err, nil)
		var wantOut, wantErr strings.Builder
		for i := range 1000 {
			fmt.Fprintln(&wantOut, "out", i)
			fmt.Fprintln(&wantErr, "err", i)
		}
		fleettest.Equal(t, "stdout", stdout == wantOut.String(), true)
		fleettest.Equal(t, "stderr", stderr == wantErr.String(), true)
	})
	t.Run("binary", func(t *testing.T) {
		data := fleettest.Noise(5<<20 + 123)
		_, stdout, stderr, err := fleettest.RunCommand(t, c, fleetssh.Command{Line: "tee /dev/stderr", Stdin: bytes.NewReader(data)})
		fleettest.Equal(t, "error", err, nil)
		fleettest.Equal(t, "stdout", sha256.Sum256([]byte(stdout)), sha256.Sum256(data))
		fleettest.Equal(t, "stderr", sha256.Sum256([]byte(stderr)), sha256.Sum256(data))
	})
	t.Run("64 MiB of input", func(t *testing.T) {
		const size = 64 << 20
		in, want := sha256.New(), ""
		source := io.TeeReader(io.LimitReader(rand.NewChaCha8([32]byte{2}), size), in)
		out := fleettest.Start(t, c, fleetssh.Command{Line: "tee >(wc -c >&2) | sha256sum", Shell: "bash -c", Stdin: source})
		fleettest.Equal(t, "error", out.WaitFinished(fleettest.Soon(t)), nil)
		want = fmt.Sprintf("%x  -\n", in.Sum(nil))
		fleettest.Equal(t, "sum", fleettest.Text(t, out.Stdout), want)
		fleettest.Equal(t, "size", strings.TrimSpace(fleettest.Text(t, out.Stderr)), fmt.Sprint(size))
	})
	t.Run("64 MiB of unread output", func(t *testing.T) {
		out := fleettest.Start(t, c, fleetssh.Command{Line: "head -c 67108864 /dev/zero"})
		fleettest.Equal(t, "error", out.WaitFinished(fleettest.Soon(t)), nil)
		n, err := io.Copy(io.Discard, out.Stdout)
		fleettest.Equal(t, "error of reading", err, nil)
		fleettest.Equal(t, "size", n, 64<<20)
	})
	t.Run("cut", func(t *testing.T) {
		out, stdout, _, err := fleettest.RunCommand(t, c, fleetssh.Command{Line: "seq 100000", MaxOutput: 10})
		fleettest.Equal(t, "error", err, nil)
		fleettest.Equal(t, "output", stdout, "1\n2\n3\n4\n5\n")
		fleettest.Equal(t, "truncated", out.Stdout.Truncated(), true)
		fleettest.Equal(t, "stderr truncated", out.Stderr.Truncated(), false)
	})
	t.Run("no input ends at once", func(t *testing.T) {
		_, stdout, _, err := fleettest.RunCommand(t, c, fleetssh.Command{Line: "cat; echo end"})
		fleettest.Equal(t, "error", err, nil)
		fleettest.Equal(t, "output", stdout, "end\n")
	})
	t.Run("read time-out", func(t *testing.T) {
		out := fleettest.Start(t, c, fleetssh.Command{Line: "printf par; read x; echo tial; echo second", OpenStdin: true, ReadTimeout: 200 * time.Millisecond})
		var lines []string
		timeouts := 0
		for more := true; more; {
			more = false
			for line, err := range out.Stdout.Lines(fleettest.Soon(t)) {
				if _, ok := errors.AsType[*fleetssh.TimeoutError](err); ok {
					if timeouts++; timeouts == 1 {
						if _, err := out.Stdin.Write([]byte("go\n")); err != nil {
							t.Fatal(err)
						}
					}
					more = true
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				lines = append(lines, line)
			}
		}
		fleettest.Equal(t, "lines", strings.Join(lines, "|"), "partial|second")
		fleettest.Equal(t, "a time-out", timeouts > 0, true)
		fleettest.Equal(t, "error", out.WaitFinished(fleettest.Soon(t)), nil)
	})
	t.Run("odd lines", func(t *testing.T) {
		out := fleettest.Start(t, c, fleetssh.Command{Line: `printf 'a\r\n\nb\rc\n\000\n\377\nlast'`})
		var lines []string
		for line, err := range out.Stdout.Lines(fleettest.Soon(t)) {
			if _, bad := errors.AsType[*fleetssh.DecodeError](err); bad {
				line = "bad:" + line
			} else if err != nil {
				t.Fatal(err)
			}
			lines = append(lines, line)
		}
		fleettest.Equal(t, "lines", fmt.Sprintf("%q", lines), fmt.Sprintf("%q", []string{"a", "", "b\rc", "\x00", "bad:\xff", "last"}))
		fleettest.Equal(t, "error", out.WaitFinished(fleettest.Soon(t)), nil)
	})
	t.Run("Latin-1", func(t *testing.T) {
		out := fleettest.Start(t, c, fleetssh.Command{Line: "printf %s 'é' | od -An -tx1; printf '\\351\\n'", Encoding: "ISO-8859-1"})
		var lines []string
		for line, err := range out.Stdout.Lines(fleettest.Soon(t)) {
			if err != nil {
				t.Fatal(err)
			}
			lines = append(lines, line)
		}
		fleettest.Equal(t, "lines", strings.Join(lines, "|"), " e9|é")
		out.WaitFinished(fleettest.Soon(t))
	})
}

// A host that does not read its input does not delay the others, and Close unblocks a Write.
func TestSSHDStdinNotRead(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	_, host := fleettest.StartSSHD(t, sshdtest.Options{})
	p := &fleetssh.ParallelClient{Hosts: []fleetssh.HostConfig{host, host, host}}
	defer p.Close()
	const size = 16 << 20
	command := fleetssh.Command{
		Line:     "%s",
		HostArgs: []fleetssh.Args{{List: []string{"exec sleep 60 <&0"}}, {List: []string{"wc -c"}}, {List: []string{"head -c 1 | wc -c"}}},
		Stdin:    io.LimitReader(rand.NewChaCha8([32]byte{3}), size),
	}
	outs, err := p.RunCommand(fleettest.Soon(t), command)
	if err != nil {
		t.Fatal(err)
	}
	fleettest.Equal(t, "reader", outs[1].WaitFinished(fleettest.Soon(t)), nil)
	fleettest.Equal(t, "reader's output", fleettest.Text(t, outs[1].Stdout), fmt.Sprintln(size))
	fleettest.Equal(t, "reader of little", outs[2].WaitFinished(fleettest.Soon(t)), nil)
	fleettest.Equal(t, "finished without reading", outs[0].Finished(), false)
	fleettest.Equal(t, "stop", outs[0].Stop(fleettest.Soon(t)), nil)

	out := fleettest.Start(t, fleettest.Dial(t, host), fleetssh.Command{Line: "exec sleep 60", OpenStdin: true})
	var wg sync.WaitGroup
	wg.Go(func() {
		if n, err := out.Stdin.Write(make([]byte, size)); err == nil || n >= size {
			t.Errorf("wrote %d bytes to a command that does not read", n)
		}
	})
	out.Stop(fleettest.Soon(t))
	wg.Wait()
}

func TestSSHDTerminal(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	_, host := fleettest.StartSSHD(t, sshdtest.Options{})
	c := fleettest.Dial(t, host)
	// An sshd that does not run as root ends the connection if it may not change the group of the
	// terminal.
	_, err := c.RunCommand(fleettest.Soon(t), fleetssh.Command{Line: "true", PTY: &fleetssh.PTY{}})
	if broken, ok := errors.AsType[*fleetssh.ConnectionError](err); ok && os.Geteuid() != 0 {
		fleettest.Equal(t, "what failed", broken.Phase, "pty")
		fleettest.Equal(t, "reason", broken.Err.Error(), "connection lost")
		return
	}
	fleettest.Equal(t, "error", err, nil)
	for _, test := range []struct {
		name string
		pty  *fleetssh.PTY
		line string
		want string
	}{
		{"none", nil, "tty; echo $TERM", "not a tty\ndumb\n"},
		{"usual", &fleetssh.PTY{}, "tty | cut -c 1-9; stty size; echo $TERM", "/dev/pts/\r\n24 80\r\nxterm\r\n"},
		{"size and name", &fleetssh.PTY{Term: "vt100", Rows: 50, Cols: 132}, "stty size; echo $TERM", "50 132\r\nvt100\r\n"},
		{"stderr on stdout", &fleetssh.PTY{}, "echo out; echo err >&2", "out\r\nerr\r\n"},
		{"modes", &fleetssh.PTY{Modes: ssh.TerminalModes{ssh.ECHO: 0, ssh.OPOST: 0}}, "stty -a | grep -o -e '-echo ' -e '-opost'", "-opost\n-echo \n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, stdout, stderr, err := fleettest.RunCommand(t, c, fleetssh.Command{Line: test.line, PTY: test.pty})
			if _, exit := errors.AsType[*fleetssh.ExitError](err); err != nil && !exit {
				t.Fatal(err)
			}
			fleettest.Equal(t, "stdout", fmt.Sprintf("%q", stdout), fmt.Sprintf("%q", test.want))
			fleettest.Equal(t, "stderr", stderr, "")
		})
	}
	t.Run("resized", func(t *testing.T) {
		out := fleettest.Start(t, c, fleetssh.Command{
			Line:      "trap 'stty size; exit 0' WINCH; echo ready; while :; do sleep 0.05; done",
			PTY:       &fleetssh.PTY{},
			OpenStdin: true,
		})
		next := lineReader(t, out.Stdout)
		fleettest.Equal(t, "first line", next(), "ready")
		if err := out.Resize(7, 77); err != nil {
			t.Fatal(err)
		}
		fleettest.Equal(t, "size", next(), "7 77")
		fleettest.Equal(t, "error", out.WaitFinished(fleettest.Soon(t)), nil)
	})
	t.Run("interactive", func(t *testing.T) {
		out := fleettest.Start(t, c, fleetssh.Command{Line: "read -p 'name? ' name; echo hello $name", Shell: "bash -c", PTY: &fleetssh.PTY{}, OpenStdin: true})
		if _, err := out.Stdin.Write([]byte("you\r")); err != nil {
			t.Fatal(err)
		}
		fleettest.Equal(t, "error", out.WaitFinished(fleettest.Soon(t)), nil)
		fleettest.Contains(t, fleettest.Text(t, out.Stdout), "name? ", "hello you\r\n")
	})
}

// lineReader returns a function that reads the next line.
func lineReader(t testing.TB, o *fleetssh.Output) func() string {
	return func() string {
		t.Helper()
		for line, err := range o.Lines(fleettest.Soon(t)) {
			if err != nil {
				t.Fatal(err)
			}
			return line
		}
		return ""
	}
}

// A context bounds only the call it is passed to.
func TestSSHDContexts(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	_, host := fleettest.StartSSHD(t, sshdtest.Options{})
	ctx, cancel := context.WithCancel(context.Background())
	c, err := fleetssh.Dial(ctx, host)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	out, err := c.RunCommand(ctx, fleetssh.Command{Line: "read x; echo $x", OpenStdin: true})
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := out.Stdin.Write([]byte("still here\n")); err != nil {
		t.Fatal(err)
	}
	fleettest.Equal(t, "error", out.WaitFinished(fleettest.Soon(t)), nil)
	fleettest.Equal(t, "output", fleettest.Text(t, out.Stdout), "still here\n")
	if _, err := c.RunCommand(ctx, fleetssh.Command{Line: "true"}); !errors.Is(err, context.Canceled) {
		t.Errorf("with an ended context: %v", err)
	}
	fleettest.Equal(t, "output", fleettest.Output(t, c, "echo alive"), "alive\n")
	if _, err := fleetssh.Dial(ctx, host); !errors.Is(err, context.Canceled) {
		t.Errorf("Dial with an ended context: %v", err)
	}
}
