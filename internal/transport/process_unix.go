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
	process     *os.Process
	pid         int // of process, which forgets it when it is released
	stderr      tail
	heard       chan struct{} // closed when something has been read: the process does its work
	hear        func()        // closes it, and tells the trace
	said        chan struct{} // closed when standard error has ended
	stopped     chan syscall.Signal
	exited      chan struct{} // closed when the process has been waited for
	status      syscall.WaitStatus
	refused     atomic.Pointer[error] // why it did not get the terminal

	closeOnce sync.Once
	closing   chan struct{}
	closed    error
	wg        sync.WaitGroup
}

// start runs a line. Errors of the connection say that it was to reach addr.
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
		heard: make(chan struct{}), said: make(chan struct{}), exited: make(chan struct{}), closing: make(chan struct{}),
		stopped: make(chan syscall.Signal, 1),
	}
	p.hear = sync.OnceFunc(func() {
		close(p.heard)
		trace.Heard()
	})
	// In a group of its own it gets no signals of the terminal. In a session of its own
	// it has none.
	own := &syscall.SysProcAttr{Setsid: true}
	terminal := c.Terminal
	if !canLend {
		terminal = nil
	}
	if terminal != nil {
		own = &syscall.SysProcAttr{Setpgid: true}
	}
	p.process, err = os.StartProcess(shell, []string{shell, "-c", "exec " + line}, &os.ProcAttr{
		Files: []*os.File{theirs, theirs, stderr}, Sys: own,
	})
	if err != nil {
		ours.Close()
		output.Close()
		return nil, err
	}
	p.pid = p.process.Pid
	trace.Started()
	p.wg.Go(func() {
		p.stderr.readFrom(output) // until its end, or until what follows closes it
		close(p.said)
	})
	p.wg.Go(func() {
		p.wait()
		close(p.exited)
		// What it has started may live on, and write.
		select {
		case <-p.closing:
		case <-p.said:
		}
		output.Close()
	})
	if terminal != nil {
		lend := lending{processConn: p, terminal: terminal, trace: trace, host: cmp.Or(c.Host, trace.Host, addr)}
		p.wg.Go(func() { lend.watch(context.WithoutCancel(ctx)) })
	}
	return p, nil
}

// wait waits for the process, and tells when it is stopped.
func (c *processConn) wait() {
	for {
		_, err := syscall.Wait4(c.pid, &c.status, syscall.WUNTRACED, nil)
		switch {
		case err == syscall.EINTR:
		case err == nil && c.status.Stopped():
			select {
			case c.stopped <- c.status.StopSignal():
			default: // the one before has not been taken yet
			}
		default:
			_ = c.process.Release() // it has been waited for
			return
		}
	}
}

// passed returns the connection whose descriptor the process passes, as OpenSSH's
// mm_send_fd does: with one byte. The process is not needed any more then.
func (c *processConn) passed(ctx context.Context) (net.Conn, error) {
	socket, ok := c.Conn.(*net.UnixConn)
	if !ok {
		return nil, errors.ErrUnsupported
	}
	stop := context.AfterFunc(ctx, func() { _ = socket.SetReadDeadline(time.Unix(1, 0)) }) // fails if it is closed, which ends the read as well
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
		err = c.explain(err) // it has ended, or its output has
	}
	c.Close()
	if _, ok := err.(*Error); !ok {
		err = newError(c.proxy, c.addr, fmt.Errorf("it passed no connection (ProxyUseFdpass): %w", err))
	}
	return nil, err
}

// errDescriptors is for what is not one.
var errDescriptors = errors.New("descriptors and not one")

// receiveFile receives one descriptor. More than one is more than was asked for.
func receiveFile(socket *net.UnixConn) (*os.File, error) {
	data, control := make([]byte, 1), make([]byte, syscall.CmsgSpace(4*4))
	said, n, _, _, err := socket.ReadMsgUnix(data, control)
	if err != nil {
		return nil, err
	}
	if said == 0 {
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
			continue // something else
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
		c.hear()
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
	if err == nil || errors.Is(err, net.ErrClosed) || errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	select {
	case <-c.heard:
		return err
	default:
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
	if said := c.stderr.line(); said != "" {
		failure.text += ": " + said
	}
	if refused := c.refused.Load(); refused != nil {
		failure.text = "wants to ask on the terminal: " + (*refused).Error()
	}
	return newError(c.proxy, c.addr, failure)
}

// Close ends the connection and the process, and waits for it. See [Command].
func (c *processConn) Close() error {
	c.closeOnce.Do(func() {
		close(c.closing)
		c.closed = c.Conn.Close()
		if !c.ends(inputGrace) {
			c.signal(syscall.SIGHUP)
			c.signal(syscall.SIGCONT) // or, stopped, it would never know
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
func (c *processConn) signal(sig syscall.Signal) { _ = syscall.Kill(-c.pid, sig) }

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
