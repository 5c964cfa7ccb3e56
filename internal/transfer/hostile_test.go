package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestSilentServers: whatever a host sends at the beginning, waiting for more comes to an end.
func TestSilentServers(t *testing.T) {
	t.Parallel()
	version := "\x00\x00\x00\x05\x02\x00\x00\x00\x03"
	for name, bytes := range map[string]string{
		"nothing":             "",
		"half a packet":       version[:7],
		"no limits":           "\x00\x00\x00\x23\x02\x00\x00\x00\x03\x00\x00\x00\x12limits@openssh.com\x00\x00\x00\x011",
		"no answers":          version,
		"an answer not asked": version + "\x00\x00\x00\x09\x65\x00\x00\x00\x63\x00\x00\x00\x00",
		"a login message":     "Welcome to the host!\r\n",
		"an endless packet":   "\xff\xff\xff\xff" + strings.Repeat("x", 1000),
		"a packet of nothing": "\x00\x00\x00\x00",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			local := write(t, filepath.Join(t.TempDir(), "f"), "content")
			j := newJob(t, Options{Stall: 100 * time.Millisecond})
			r, err := j.Upload(soon(t), hostile(t, bytes), []string{local}, "f", nil)
			if err == nil || errors.Is(err, context.DeadlineExceeded) || r.Files != 0 {
				t.Errorf("%+v, %v", r, err)
			}
			dir := t.TempDir()
			if r, err = j.Download(soon(t), hostile(t, bytes), []string{"f"}, dir, nil); err == nil || r.Files != 0 {
				t.Errorf("%+v, %v", r, err)
			}
			if left, _ := os.ReadDir(dir); len(left) != 0 {
				t.Errorf("%v is left", left)
			}
		})
	}
}

// endsOnly is the stream of a program that has closed its output but still runs.
type endsOnly struct {
	closed chan struct{}
	once   sync.Once
	net.Conn
}

func (e *endsOnly) Read([]byte) (int, error)    { return 0, io.EOF }
func (e *endsOnly) Write(p []byte) (int, error) { return len(p), nil }
func (e *endsOnly) CloseWrite() error           { return nil }
func (e *endsOnly) Wait() error                 { <-e.closed; return errors.New("closed") }
func (e *endsOnly) Close() error {
	e.once.Do(func() { close(e.closed) })
	return nil
}

// TestEndWithoutExit: the output ends, but the host never reports the end of the program.
func TestEndWithoutExit(t *testing.T) {
	t.Parallel()
	for _, opt := range []Options{{}, {SCP: true}} {
		opt.Stall = 100 * time.Millisecond
		open := func(context.Context) (Stream, error) { return &endsOnly{closed: make(chan struct{})}, nil }
		host := &Host{SFTP: open, Exec: func(ctx context.Context, _ string) (Stream, error) { return open(ctx) }, Broken: func() bool { return false }}
		local := write(t, filepath.Join(t.TempDir(), "f"), "content")
		if _, err := newJob(t, opt).Upload(soon(t), host, []string{local}, "f", nil); err == nil || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
		if _, err := newJob(t, opt).Download(soon(t), host, []string{"f"}, t.TempDir(), nil); err == nil || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
	}
}

// talker is a program that never stops writing.
type talker struct {
	endsOnly
	line string
}

func (k *talker) Read(p []byte) (int, error) {
	select {
	case <-k.closed:
		return 0, io.ErrClosedPipe
	default:
		return copy(p, k.line), nil
	}
}

// TestHostileChecksums: output that is no checksum is not taken for one.
func TestHostileChecksums(t *testing.T) {
	t.Parallel()
	content := pattern(100_000)
	for _, line := range []string{"\n", "0000\n", strings.Repeat("0", 64) + "  -\n", strings.Repeat("g", 64) + "\n", strings.Repeat("x", 5000), "\\\n\\\n"} {
		for _, once := range []bool{false, true} {
			m := newMachine(t)
			host := m.host()
			host.Exec = func(context.Context, string) (Stream, error) {
				if once {
					w, far := m.stream()
					m.wg.Go(func() { io.WriteString(far, line); far.Close(); close(w.ended) })
					return w, nil
				}
				return &talker{endsOnly: endsOnly{closed: make(chan struct{})}, line: line}, nil
			}
			local := write(t, filepath.Join(t.TempDir(), "f"), content)
			r, err := newJob(t, Options{Verify: true}).Upload(soon(t), host, []string{local}, "f", nil)
			lies := once && strings.HasPrefix(line, "00000")
			if lies && (!isFileError(err, errChecksum.Error()) || r.Failed != 1) || !lies && err != nil {
				t.Errorf("%q: %+v, %v", line, r, err)
			}
			if !lies {
				wantFile(t, filepath.Join(m.dir, "f"), content) // it was read back
			} else if _, err := os.Stat(filepath.Join(m.dir, "f")); err == nil {
				t.Error("it has got its name")
			}
			wantNoTemps(t, m.dir)
		}
	}
}

// named is an entry of a host's listing.
type named struct {
	fs.FileInfo
	name string
	mode fs.FileMode
}

func (n named) Name() string       { return n.name }
func (n named) Mode() fs.FileMode  { return n.mode }
func (n named) Size() int64        { return -1 }
func (n named) ModTime() time.Time { return time.Time{} }

func TestNamesOfHosts(t *testing.T) {
	t.Parallel()
	bad := []string{"", ".", "..", "/", "a/b", "../x", "/etc/passwd", "a\x00b", "a/..", strings.Repeat("x", maxNameSize+1)}
	good := []string{"a", "...", "..a", "-rf", "~", "new\nline", "\xff\xfe", " ", `back\slash`, ".fleetssh-x"}
	var list []fs.FileInfo
	for _, name := range append(bad, good...) {
		list = append(list, named{name: name, mode: 0o644})
	}
	list = append(list, named{name: "a"}, named{name: "fifo", mode: fs.ModeNamedPipe}, named{name: "setuid", mode: fs.ModeSetuid | 0o755})
	found, refused := entriesOf(&entry{name: "d", path: "/d"}, list)
	if len(found) != len(good)+1 || len(refused) != len(bad)+2 {
		t.Errorf("%d found, %d refused", len(found), len(refused))
	}
	for i, e := range found {
		if i < len(good) && e.name != "d/"+good[i] {
			t.Errorf("%q, want %q", e.name, good[i])
		}
	}
}

func FuzzNames(f *testing.F) {
	for _, name := range []string{"a", "..", "a/../..", "\x00", "/"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if safeName(name) && (filepath.Base(name) != name || !filepath.IsLocal(name) || filepath.Dir(filepath.Join("/d", name)) != "/d") {
			t.Errorf("%q is taken", name)
		}
		temp := tempName(name)
		if !isTempOf(temp, name) || len(temp) > 255 {
			t.Errorf("%q is no temporary name of %q", temp, name)
		}
		if p, err := homePath(name); err == nil && (strings.ContainsRune(p, 0) || p == "") {
			t.Errorf("%q becomes %q", name, p)
		}
		base := baseOf(name)
		if base == "." || base == ".." || strings.ContainsRune(base, '/') {
			t.Errorf("the base of %q is %q", name, base)
		}
	})
}

func FuzzGreet(f *testing.F) {
	version := "\x00\x00\x00\x23\x02\x00\x00\x00\x03\x00\x00\x00\x12limits@openssh.com\x00\x00\x00\x011"
	f.Add([]byte(version))
	f.Add([]byte(version + "\x00\x00\x00\x25\xc9\x00\x00\x00\x00" + strings.Repeat("\x00\x00\x00\x00\x00\x04\x00\x00", 4)))
	f.Add([]byte("\x00\x00\x00\x05\x02\x00\x00\x00\x03"))
	f.Add([]byte("\x00\x00\x00\x0d\x02\x00\x00\x00\x03\xff\xff\xff\xff\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, said []byte) {
		var asked strings.Builder
		g, err := greet(struct {
			io.Reader
			io.Writer
		}{strings.NewReader(string(said)), &asked})
		if err != nil {
			return
		}
		if l := g.limits; l.read < 1 || l.read > maxBlock || l.write < 1 || l.write > maxBlock {
			t.Errorf("%+v", l)
		}
		if len(g.version) > maxGreeting+4 || asked.Len() > 64 {
			t.Errorf("%d bytes, %d asked", len(g.version), asked.Len())
		}
		ch := &channel{}
		client, err := g.newClient(strings.NewReader(""), discard{io.Discard})
		if err == nil {
			ch.Client = client
			client.Close()
			client.Wait()
		}
	})
}

type discard struct{ io.Writer }

func (discard) Close() error { return nil }

// FuzzSFTP lets a host answer anything. It must not crash or hang the program, or write outside the
// destination.
func FuzzSFTP(f *testing.F) {
	version := "\x00\x00\x00\x05\x02\x00\x00\x00\x03"
	status := func(id, code byte) string {
		return "\x00\x00\x00\x09\x65\x00\x00\x00" + string(id) + "\x00\x00\x00" + string(code)
	}
	f.Add([]byte(version + status(1, 2) + status(2, 0)))
	f.Add([]byte(version + "\x00\x00\x00\x0d\x69\x00\x00\x00\x01\x00\x00\x00\x04\x00\x00\x41\xed" + "\x00\x00\x00\x0a\x66\x00\x00\x00\x02\x00\x00\x00\x01h" +
		"\x00\x00\x00\x1a\x68\x00\x00\x00\x03\x00\x00\x00\x01\x00\x00\x00\x05../ev\x00\x00\x00\x00\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, said []byte) {
		ctx := soon(t)
		parent := t.TempDir()
		dir := filepath.Join(parent, "in")
		j := New(Options{Recursive: true, Stall: 20 * time.Millisecond})
		defer j.Close()
		j.Download(ctx, hostile(t, string(said)), []string{"tree"}, dir, nil)
		if ctx.Err() != nil {
			t.Error("it hung")
		}
		if names, _ := os.ReadDir(parent); len(names) > 1 {
			t.Errorf("%v", names)
		}
	})
}

// TestEndlessListing: reading an endless directory fails before it fills the memory, in uploads too.
func TestEndlessListing(t *testing.T) {
	t.Parallel()
	var all listings
	ch := &channel{host: all.newListing(nil)}
	err := ch.list(func() error {
		for range maxListed / (1 << 20) {
			if err := ch.countListed(1 << 20); err != nil {
				return fmt.Errorf("too early: %w", err)
			}
		}
		return ch.countListed(1)
	})
	if err != errTooManyNames || !ch.host.exceeded() {
		t.Errorf("%v", err)
	}
	ch.host.close()
	small := &channel{host: all.newListing(nil)}
	for range 3 {
		small.list(func() error { return small.countListed(maxListed / 2) })
	}
	if small.host.exceeded() || small.countListed(maxListed) != nil {
		t.Error("three listings were taken for one")
	}
	small.host.close()
	if all.total != (amount{}) {
		t.Errorf("%v is left", all.total)
	}
}

// TestSharedListings: however many hosts list without end, only one at a time exceeds the shared
// limits, and each of them fails in the end.
func TestSharedListings(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var all listings
		var wg sync.WaitGroup
		var most atomic.Int64
		for range 50 {
			wg.Go(func() {
				host := all.newListing(nil)
				defer host.close()
				for {
					if err := host.reserve(amount{names: 1000}); err != nil {
						if err != errTooManyNames {
							t.Error(err)
						}
						return
					}
					all.mu.Lock()
					most.Store(max(most.Load(), int64(all.total.names)))
					all.mu.Unlock()
				}
			})
		}
		wg.Wait()
		if got := most.Load(); got > sharedEntries+maxEntries {
			t.Errorf("%d names at once", got)
		}
		// A slow host keeps the others waiting for a limited time only.
		slow, quit := all.newListing(nil), make(chan struct{})
		for range sharedEntries/1000 + 1 {
			if err := slow.reserve(amount{names: 1000}); err != nil {
				t.Fatal(err)
			}
		}
		begun := time.Now()
		other := all.newListing(quit)
		if err := other.reserve(amount{names: 1}); err != nil || time.Since(begun) != turnLimit {
			t.Errorf("%v after %v", err, time.Since(begun))
		}
		third := all.newListing(quit)
		go func() {
			time.Sleep(time.Second)
			if !third.isWaiting() {
				t.Error("it does not wait")
			}
			close(quit)
		}()
		if err := third.reserve(amount{names: 1}); err != ErrLost {
			t.Errorf("given up: %v", err)
		}
		slow.close()
		other.close()
		third.close()
		if all.total != (amount{}) {
			t.Errorf("%v is left", all.total)
		}
	})
}
