package transfer

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pkg/sftp"
)

// machine is a host in this process: an SFTP server and a shell, with a temporary home directory.
type machine struct {
	t      testing.TB
	dir    string
	broken atomic.Bool
	wg     sync.WaitGroup

	mu      sync.Mutex // protects what follows
	streams []*wire
	started func() // called when a command begins
	cut     int    // bytes from the client after which its stream ends; 0: never
}

// newMachine returns a host. The test must have ended all of its programs before it ends.
func newMachine(t testing.TB) *machine {
	m := &machine{t: t, dir: t.TempDir()}
	t.Cleanup(func() {
		for _, s := range m.streams {
			s.Close()
		}
		m.wg.Wait()
	})
	return m
}

func (m *machine) host() *Host {
	return &Host{SFTP: m.sftp, Exec: m.exec, Broken: m.broken.Load}
}

// wire is a stream to a program on a machine.
type wire struct {
	net.Conn
	m     *machine
	ended chan struct{}
	err   error // of the program, when ended is closed
	write func() error
	left  atomic.Int64 // bytes that may be written
	limit bool
}

func (w *wire) CloseWrite() error {
	if w.write != nil {
		return w.write()
	}
	return nil
}

func (w *wire) Wait() error {
	<-w.ended
	return w.err
}

func (w *wire) Write(p []byte) (int, error) {
	if w.limit && w.left.Add(-int64(len(p))) < 0 {
		w.m.broken.Store(true)
		w.Close()
		return 0, io.ErrClosedPipe
	}
	return w.Conn.Write(p)
}

func (m *machine) stream() (*wire, net.Conn) {
	near, far := net.Pipe()
	w := &wire{Conn: near, m: m, ended: make(chan struct{})}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.streams = append(m.streams, w)
	if m.cut > 0 {
		w.limit = true
		w.left.Store(int64(m.cut))
	}
	return w, far
}

func (m *machine) sftp(context.Context) (Stream, error) {
	w, far := m.stream()
	server, err := sftp.NewServer(far, sftp.WithServerWorkingDirectory(m.dir))
	if err != nil {
		return nil, err
	}
	m.wg.Go(func() {
		defer close(w.ended)
		server.Serve()
		server.Close()
		far.Close()
	})
	return w, nil
}

// exec runs a command line as sshd does.
func (m *machine) exec(_ context.Context, line string) (Stream, error) {
	m.mu.Lock()
	started := m.started
	m.mu.Unlock()
	if started != nil {
		started()
	}
	w, far := m.stream()
	cmd := exec.Command("sh", "-c", line)
	cmd.Dir = m.dir
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	cmd.Stdout = far
	w.write = in.Close
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	m.wg.Go(func() {
		io.Copy(in, far)
		in.Close()
	})
	m.wg.Go(func() {
		defer close(w.ended)
		w.err = cmd.Wait()
		far.Close()
	})
	return w, nil
}

// onExec sets a function that is called when a command begins.
func (m *machine) onExec(f func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.started = f
}

// hostile returns a host whose SFTP server and commands all send the given bytes and then are silent.
func hostile(t testing.TB, bytes string) *Host {
	open := func(context.Context) (Stream, error) {
		near, far := net.Pipe()
		w := &wire{Conn: near, ended: make(chan struct{})}
		var wg sync.WaitGroup
		wg.Go(func() { io.Copy(io.Discard, far); far.Close(); close(w.ended) })
		wg.Go(func() { io.WriteString(far, bytes) })
		t.Cleanup(func() { near.Close(); far.Close(); wg.Wait() })
		return w, nil
	}
	return &Host{SFTP: open, Exec: func(ctx context.Context, _ string) (Stream, error) { return open(ctx) }, Broken: func() bool { return false }}
}

func newJob(t testing.TB, opt Options) *Job {
	j := New(opt)
	t.Cleanup(j.Close)
	return j
}

// soon returns a context that ends if the test hangs.
func soon(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func write(t testing.TB, name, content string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	return name
}

func wantFile(t testing.TB, name, content string) {
	t.Helper()
	got, err := os.ReadFile(name)
	if err != nil || string(got) != content {
		t.Errorf("%s: %d bytes, %v; want %d bytes", name, len(got), err, len(content))
	}
}

// wantNoTemps checks that no partial file is left.
func wantNoTemps(t testing.TB, dir string) {
	t.Helper()
	for _, name := range tempsIn(dir) {
		t.Errorf("left behind: %s", name)
	}
}

func tempsIn(dir string) (found []string) {
	filepath.WalkDir(dir, func(name string, _ os.DirEntry, err error) error {
		if err == nil && strings.Contains(filepath.Base(name), tempInfix) {
			found = append(found, name)
		}
		return nil
	})
	return found
}

// pattern returns n bytes that do not repeat.
func pattern(n int) string {
	b := make([]byte, n)
	x := uint32(1)
	for i := range b {
		x = x*1664525 + 1013904223
		b[i] = byte(x>>24) | 1 // never zero
	}
	return string(b)
}

// isFileError reports whether err is about a file and has a text.
func isFileError(err error, says string) bool {
	_, ok := errors.AsType[*Error](err)
	return ok && strings.Contains(err.Error(), says)
}
