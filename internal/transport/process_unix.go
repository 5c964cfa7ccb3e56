//go:build unix

package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const commandsWork = true

const (
	// inputGrace is how long a process may take to end after its input has.
	inputGrace = 250 * time.Millisecond
	// hangupGrace is how long it may take after SIGHUP.
	hangupGrace = time.Second
	// verdictGrace is how long to wait, when the connection has ended early, for the
	// process to do so and say why.
	verdictGrace = time.Second
)

// processConn is the connection that a process stands for. Its own goroutines end
// with Close.
type processConn struct {
	net.Conn // our end of the pair of sockets that is its standard input and output

	proxy, addr string // for errors
	cmd         *exec.Cmd
	stderr      tail
	heard       atomic.Bool   // something has been read: the process does its work
	said        chan struct{} // closed when standard error has ended
	exited      chan struct{} // closed when the process has been waited for
	status      error         // how it ended; to be read after exited

	closeOnce sync.Once
	closing   chan struct{}
	closed    error
	wg        sync.WaitGroup
}

// startProcess runs a line. Errors of the connection call it proxy, and say that
// it was to reach addr.
func startProcess(line, proxy, addr string) (net.Conn, error) {
	ours, theirs, err := socketPair()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	output, stderr, err := os.Pipe()
	if err != nil {
		ours.Close()
		return nil, err
	}
	defer stderr.Close()
	shell := os.Getenv("SHELL")
	if shell == "" {
		shell = "/bin/sh"
	}
	c := &processConn{
		Conn: ours, proxy: proxy, addr: addr,
		cmd: &exec.Cmd{
			Path: shell, Args: []string{shell, "-c", "exec " + line},
			Stdin: theirs, Stdout: theirs, Stderr: stderr,
			SysProcAttr: &syscall.SysProcAttr{Setsid: true},
		},
		said: make(chan struct{}), exited: make(chan struct{}), closing: make(chan struct{}),
	}
	if err := c.cmd.Start(); err != nil {
		ours.Close()
		output.Close()
		return nil, err
	}
	c.wg.Go(func() {
		c.stderr.readFrom(output) // until its end, or until what follows closes it
		close(c.said)
	})
	c.wg.Go(func() {
		c.status = c.cmd.Wait()
		close(c.exited)
		// What it has started may live on, and write.
		select {
		case <-c.closing:
		case <-c.said:
		}
		output.Close()
	})
	return c, nil
}

// socketPair returns two connected sockets: one with deadlines for us, one for a
// process.
func socketPair() (ours net.Conn, theirs *os.File, err error) {
	// Not every system can make them close-on-exec at once.
	syscall.ForkLock.RLock()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err == nil {
		syscall.CloseOnExec(fds[0])
		syscall.CloseOnExec(fds[1])
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	theirs = os.NewFile(uintptr(fds[1]), "connection")
	file := os.NewFile(uintptr(fds[0]), "connection")
	defer file.Close()
	if ours, err = net.FileConn(file); err != nil {
		theirs.Close()
		return nil, nil, err
	}
	return ours, theirs, nil
}

// Read implements [net.Conn].
func (c *processConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.heard.Store(true)
	}
	return n, c.explain(err)
}

// Write implements [net.Conn].
func (c *processConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	return n, c.explain(err)
}

// explain returns why the connection has ended, if it has before anything was
// read: what the process said on standard error, and how it ended.
func (c *processConn) explain(err error) error {
	if err == nil || c.heard.Load() || errors.Is(err, net.ErrClosed) || errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	patience, cancel := context.WithTimeout(context.Background(), verdictGrace)
	defer cancel()
	for _, event := range []<-chan struct{}{c.exited, c.said} {
		select {
		case <-event:
		case <-patience.Done():
		case <-c.closing:
			return err
		}
	}
	text := "closed its output"
	select {
	case <-c.exited:
		text = "ended"
		if exit, ok := errors.AsType[*exec.ExitError](c.status); ok {
			text = "ended by " + exit.String()
			if exit.Exited() {
				text = fmt.Sprintf("exited with status %d", exit.ExitCode())
			}
		}
	default:
	}
	if said := c.stderr.line(); said != "" {
		text += ": " + said
	}
	return newError(c.proxy, c.addr, errors.New(text))
}

// Close ends the connection and the process, and waits for it. See [Command].
func (c *processConn) Close() error {
	c.closeOnce.Do(func() {
		close(c.closing)
		c.closed = c.Conn.Close()
		if !c.ends(inputGrace) {
			c.signal(syscall.SIGHUP)
			if !c.ends(hangupGrace) {
				c.signal(syscall.SIGKILL)
			}
		}
		c.wg.Wait()
	})
	return c.closed
}

// ends waits for the process, and reports whether it has ended.
func (c *processConn) ends(limit time.Duration) bool {
	patience := time.NewTimer(limit)
	defer patience.Stop()
	select {
	case <-c.exited:
		return true
	case <-patience.C:
		return false
	}
}

// signal sends a signal to the process and to what it has started in its group. One
// that ended just now needs none.
func (c *processConn) signal(sig syscall.Signal) { _ = syscall.Kill(-c.cmd.Process.Pid, sig) }

// tailLimit is how much of standard error is kept.
const tailLimit = 4 << 10

// tail keeps the last of a stream.
type tail struct {
	mu   sync.Mutex // protects what follows
	kept []byte
	cut  bool // something came before
}

// readFrom reads to the end, however it comes.
func (t *tail) readFrom(r io.Reader) {
	for buf := make([]byte, 1<<10); ; {
		n, err := r.Read(buf)
		t.add(buf[:n])
		if err != nil {
			return
		}
	}
}

func (t *tail) add(p []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kept = append(t.kept, p...)
	if over := len(t.kept) - tailLimit; over > 0 {
		t.kept = append(t.kept[:0], t.kept[over:]...)
		t.cut = true
	}
}

// line returns what was kept in one line.
func (t *tail) line() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var lines []string
	for line := range strings.Lines(string(t.kept)) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, harmless(line, tailLimit))
		}
	}
	text := strings.Join(lines, "; ")
	if t.cut {
		text = "…" + text
	}
	return text
}
