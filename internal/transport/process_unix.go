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
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const commandsWork = true

const (
	// inputGrace is how long a process may run after its input was closed.
	inputGrace = 250 * time.Millisecond
	// hangupGrace is how long it may run after SIGHUP.
	hangupGrace = time.Second
	// exitGrace is how long to wait, after the connection ended early, for the process to exit
	// and for the end of its standard error.
	exitGrace = time.Second
)

// processConn is a connection to the standard input and output of a process. Close ends its
// goroutines and waits for them.
type processConn struct {
	net.Conn // our end of the socket pair

	proxy, addr string // for errors
	process     *os.Process
	pid         int // the ID of process, which loses it when it is released
	stderr      tail
	heard       chan struct{} // closed when something has been read from the process
	hear        func()        // closes heard and calls the trace
	stderrEnded chan struct{} // closed at the end of standard error
	stopped     chan syscall.Signal
	exited      chan struct{} // closed when the process has exited and status is set
	status      syscall.WaitStatus
	refused     atomic.Pointer[error] // why the process did not get the terminal

	closeOnce sync.Once
	closing   chan struct{}
	closed    error
	wg        sync.WaitGroup
}

// start runs a line. addr is the address in errors of the connection.
func (c *command) start(ctx context.Context, line, addr string, trace Trace) (*processConn, error) {
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
	p := &processConn{
		Conn: ours, proxy: c.name(), addr: addr,
		heard: make(chan struct{}), stderrEnded: make(chan struct{}), exited: make(chan struct{}), closing: make(chan struct{}),
		stopped: make(chan syscall.Signal, 1),
	}
	p.hear = sync.OnceFunc(func() {
		close(p.heard)
		trace.Heard()
	})
	// In its own process group, the process gets no signals of the terminal. In its own
	// session, it has no terminal at all.
	attr := &syscall.SysProcAttr{Setsid: true}
	terminal := c.Terminal
	if !canLend {
		terminal = nil
	}
	if terminal != nil {
		attr = &syscall.SysProcAttr{Setpgid: true}
	}
	p.process, err = os.StartProcess(shell, []string{shell, "-c", "exec " + line}, &os.ProcAttr{
		Files: []*os.File{theirs, theirs, stderr}, Sys: attr,
	})
	if err != nil {
		ours.Close()
		output.Close()
		return nil, err
	}
	p.pid = p.process.Pid
	trace.Started()
	p.wg.Go(func() {
		p.stderr.readFrom(output) // until its end, or until the goroutine below closes it
		close(p.stderrEnded)
	})
	p.wg.Go(func() {
		p.wait()
		close(p.exited)
		// Children of the process may still write to standard error.
		select {
		case <-p.closing:
		case <-p.stderrEnded:
		}
		output.Close()
	})
	if terminal != nil {
		lend := lending{processConn: p, terminal: terminal, trace: trace, host: cmp.Or(c.Host, trace.Host, addr)}
		p.wg.Go(func() { lend.watch(context.WithoutCancel(ctx)) })
	}
	return p, nil
}

// wait waits for the process to exit. It sends on stopped when a signal stops the process.
func (c *processConn) wait() {
	for {
		_, err := syscall.Wait4(c.pid, &c.status, syscall.WUNTRACED, nil)
		switch {
		case err == syscall.EINTR:
		case err == nil && c.status.Stopped():
			select {
			case c.stopped <- c.status.StopSignal():
			default: // the last signal has not been received yet
			}
		default:
			_ = c.process.Release() // cannot fail: the process has been waited for
			return
		}
	}
}

// passed receives a descriptor from the process, which sends it with one byte, like OpenSSH's
// mm_send_fd. It returns the connection of the descriptor and ends the process.
func (c *processConn) passed(ctx context.Context) (net.Conn, error) {
	socket, ok := c.Conn.(*net.UnixConn)
	if !ok {
		return nil, errors.ErrUnsupported
	}
	// SetReadDeadline fails only on a closed socket, whose read fails as well.
	stop := context.AfterFunc(ctx, func() { _ = socket.SetReadDeadline(time.Unix(1, 0)) })
	file, err := receiveFile(socket)
	stop()
	if err == nil {
		c.hear()
		defer file.Close()
		var conn net.Conn
		if conn, err = net.FileConn(file); err == nil {
			c.Close()
			return conn, nil
		}
	}
	switch {
	case ctx.Err() != nil:
		err = newError(c.proxy, c.addr, context.Cause(ctx))
	case !errors.Is(err, errDescriptors):
		err = c.explain(err) // the process or its output has ended
	}
	c.Close()
	if _, ok := err.(*Error); !ok {
		err = newError(c.proxy, c.addr, fmt.Errorf("it passed no connection (ProxyUseFdpass): %w", err))
	}
	return nil, err
}

// errDescriptors means that the process did not pass exactly one descriptor.
var errDescriptors = errors.New("descriptors instead of one")

// receiveFile receives one descriptor. Any other number is an error.
func receiveFile(socket *net.UnixConn) (*os.File, error) {
	data, control := make([]byte, 1), make([]byte, syscall.CmsgSpace(4*4))
	read, n, _, _, err := socket.ReadMsgUnix(data, control)
	if err != nil {
		return nil, err
	}
	if read == 0 {
		return nil, io.EOF
	}
	messages, err := syscall.ParseSocketControlMessage(control[:n])
	if err != nil {
		return nil, err
	}
	var files []*os.File
	for i := range messages {
		fds, err := syscall.ParseUnixRights(&messages[i])
		if err != nil {
			continue // another kind of control message
		}
		for _, fd := range fds {
			syscall.CloseOnExec(fd)
			files = append(files, os.NewFile(uintptr(fd), "passed"))
		}
	}
	if len(files) == 1 {
		return files[0], nil
	}
	for _, f := range files {
		f.Close()
	}
	return nil, fmt.Errorf("%d %w", len(files), errDescriptors)
}

// socketPair returns two connected sockets: a net.Conn for us and a file for a process.
func socketPair() (ours net.Conn, theirs *os.File, err error) {
	// Not every system can create close-on-exec sockets atomically.
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
		c.hear()
	}
	return n, c.explain(err)
}

// Write implements [net.Conn].
func (c *processConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	return n, c.explain(err)
}

// explain returns err, or a better error if the connection ended before anything was read: how the
// process ended, and its standard error.
func (c *processConn) explain(err error) error {
	if err == nil || errors.Is(err, net.ErrClosed) || errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	select {
	case <-c.heard:
		return err
	default:
	}
	limit, cancel := context.WithTimeout(context.Background(), exitGrace)
	defer cancel()
	for _, event := range []<-chan struct{}{c.exited, c.stderrEnded} {
		select {
		case <-event:
		case <-limit.Done():
		case <-c.closing:
			return err
		}
	}
	failure := &exitError{text: "closed its output"}
	select {
	case <-c.exited:
		failure.text = "ended"
		switch {
		case c.status.Signaled():
			failure.text, failure.failed = "ended by signal: "+c.status.Signal().String(), true
		case c.status.ExitStatus() != 0:
			failure.text, failure.failed = fmt.Sprintf("exited with status %d", c.status.ExitStatus()), true
		}
	default:
	}
	if text := c.stderr.line(); text != "" {
		failure.text += ": " + text
	}
	if refused := c.refused.Load(); refused != nil {
		failure.text = "needs the terminal to ask the user: " + (*refused).Error()
	}
	return newError(c.proxy, c.addr, failure)
}

// Close closes the connection, ends the process and waits for it: see [Program.Dial].
func (c *processConn) Close() error {
	c.closeOnce.Do(func() {
		close(c.closing)
		c.closed = c.Conn.Close()
		if !c.ends(inputGrace) {
			c.signal(syscall.SIGHUP)
			c.signal(syscall.SIGCONT) // a stopped process gets the signal only then
			if !c.ends(hangupGrace) {
				c.signal(syscall.SIGKILL)
			}
		}
		c.wg.Wait()
	})
	return c.closed
}

// ends reports whether the process ends within limit.
func (c *processConn) ends(limit time.Duration) bool {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-c.exited:
		return true
	case <-timer.C:
		return false
	}
}

// signal sends a signal to the process group of the process. It fails only if the group has ended.
func (c *processConn) signal(sig syscall.Signal) { _ = syscall.Kill(-c.pid, sig) }

// tailLimit limits the bytes of standard error that are kept.
const tailLimit = 4 << 10

// tail keeps the last bytes of a stream.
type tail struct {
	mu   sync.Mutex // protects what follows
	kept []byte
	cut  bool // earlier bytes were dropped
}

// readFrom reads until an error, which includes the end of the stream.
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

// line returns the kept lines, joined into one.
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
