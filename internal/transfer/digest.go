package transfer

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"

	"fleetssh/internal/shellquote"
)

// digest is a SHA-256 of a file, or of its beginning.
type digest [sha256.Size]byte

// digests are those of local files, each computed once for all hosts.
type digests struct {
	mu sync.Mutex // protects what follows
	by map[digestOf]*localDigest
}

type digestOf struct {
	path string
	n    int64
}

type localDigest struct {
	done chan struct{}
	sum  digest
	err  error
}

// localDigest returns the digest of the first n bytes of a local file.
func (j *Job) localDigest(ctx context.Context, e *entry, n int64) (digest, error) {
	key := digestOf{e.path, n}
	j.digests.mu.Lock()
	if j.digests.by == nil {
		j.digests.by = make(map[digestOf]*localDigest)
	}
	d := j.digests.by[key]
	mine := d == nil
	if mine {
		d = &localDigest{done: make(chan struct{})}
		j.digests.by[key] = d
	}
	j.digests.mu.Unlock()
	if mine {
		d.sum, d.err = j.store.digest(ctx, e, n)
		if d.err != nil { // of this host's context, perhaps: others try again
			j.digests.mu.Lock()
			delete(j.digests.by, key)
			j.digests.mu.Unlock()
		}
		close(d.done)
	}
	select {
	case <-d.done:
	case <-ctx.Done():
		return digest{}, ctx.Err()
	}
	if d.err != nil && !mine && ctx.Err() == nil && errors.Is(d.err, context.Canceled) {
		return j.localDigest(ctx, e, n)
	}
	return d.sum, d.err
}

// digest reads the beginning of a file and returns its digest.
func (s *store) digest(ctx context.Context, e *entry, n int64) (digest, error) {
	file, _, err := s.openFile(ctx, e)
	if err != nil {
		return digest{}, err
	}
	defer func() {
		file.Close()
		<-s.slots
	}()
	return digestReader(ctx, file, n)
}

// digestReader returns the digest of n bytes.
func digestReader(ctx context.Context, r io.Reader, n int64) (sum digest, err error) {
	h := sha256.New()
	buf := make([]byte, 256<<10)
	for n > 0 {
		if ctx.Err() != nil {
			return sum, ctx.Err()
		}
		k, err := io.ReadFull(r, buf[:min(n, int64(len(buf)))])
		h.Write(buf[:k])
		n -= int64(k)
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return sum, errChanged
		} else if err != nil {
			return sum, err
		}
	}
	return digest(h.Sum(nil)), nil
}

// hasher has digests computed on a host, many files with one command.
type hasher struct {
	host *Host
	s    *session // nil without SFTP

	mu      sync.Mutex // protects what follows
	waiting []*remoteDigest
	running bool
	without error // why the host cannot: it has no program for it, or no shell; nil: it can
}

type remoteDigest struct {
	path string
	n    int64 // bytes of the beginning; -1: all
	done chan struct{}
	sum  digest
	ok   bool
}

// mostHashed is how many files one command names, and mostHashLine how long it gets.
const (
	mostHashed   = 200
	mostHashLine = 64 << 10
)

// digest returns the digest of a file on the host, or of its first n bytes if n is not
// negative.
func (h *hasher) digest(ctx context.Context, path string, n int64) (digest, error) {
	d := &remoteDigest{path: path, n: n, done: make(chan struct{})}
	h.mu.Lock()
	ask := h.without == nil
	if ask {
		h.waiting = append(h.waiting, d)
	}
	lead := ask && !h.running
	h.running = h.running || lead
	h.mu.Unlock()
	if ask {
		if lead {
			h.work(ctx)
		}
		select {
		case <-d.done:
		case <-ctx.Done():
			return digest{}, ctx.Err()
		}
		if d.ok {
			return d.sum, nil
		}
	}
	if err := ctx.Err(); err != nil {
		return digest{}, err
	}
	if h.s == nil {
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.without != nil {
			return digest{}, fmt.Errorf("the host computes no checksums: %w", h.without)
		}
		return digest{}, errors.New("the host cannot read the file")
	}
	return h.s.readBack(ctx, path, n)
}

// work computes what is waiting, and what is added meanwhile.
func (h *hasher) work(ctx context.Context) {
	for {
		h.mu.Lock()
		var some []*remoteDigest
		size := 0
		for _, d := range h.waiting {
			if len(some) == mostHashed || size > mostHashLine {
				break
			}
			some, size = append(some, d), size+len(d.path)
		}
		h.waiting = h.waiting[len(some):]
		if len(some) == 0 {
			h.running = false
			h.mu.Unlock()
			return
		}
		h.mu.Unlock()
		if err := h.run(ctx, some); err != nil && ctx.Err() == nil {
			h.mu.Lock()
			h.without = err
			h.mu.Unlock()
		}
		for _, d := range some {
			close(d.done)
		}
	}
}

// hashScript prints a line for each pair of a number of bytes, "-" for all, and a file.
const hashScript = `if command -v sha256sum; then h=sha256sum
elif command -v shasum; then h="shasum -a 256"
elif command -v sha256; then h="sha256 -q"
elif command -v openssl; then h="openssl dgst -sha256 -r"
else exit 127; fi >/dev/null 2>&1
while [ $# -gt 1 ]; do
if [ "$1" = - ]; then $h <"$2"; else head -c "$1" <"$2" | $h; fi || echo failed
shift 2
done`

// run has some digests computed by a command.
func (h *hasher) run(ctx context.Context, some []*remoteDigest) error {
	words := []string{"sh", "-c", shellquote.Quote(hashScript), "sh"}
	for _, d := range some {
		n := "-"
		if d.n >= 0 {
			n = strconv.FormatInt(d.n, 10)
		}
		words = append(words, n, shellquote.Quote(d.path))
	}
	out, err := h.host.command(ctx, strings.Join(words, " "), int64(len(some))*1024)
	if err != nil {
		return err
	}
	lines := bytes.Split(bytes.TrimSuffix(out, []byte("\n")), []byte("\n"))
	if len(lines) != len(some) {
		return fmt.Errorf("checksums on the host: %d lines for %d files", len(lines), len(some))
	}
	for i, line := range lines {
		// sha256sum puts a backslash before the line of a strange name.
		line = bytes.TrimPrefix(line, []byte(`\`))
		if len(line) >= 2*sha256.Size {
			_, err := hex.Decode(some[i].sum[:], line[:2*sha256.Size])
			some[i].ok = err == nil
		}
	}
	return nil
}

// command runs a command on the host and returns what it writes, up to a limit.
func (h *Host) command(ctx context.Context, line string, limit int64) ([]byte, error) {
	stream, err := h.Exec(ctx, line)
	if err != nil {
		return nil, err
	}
	defer stream.Close()
	stop := context.AfterFunc(ctx, func() { stream.Close() })
	defer stop()
	if err := stream.CloseWrite(); err != nil && err != io.EOF { // EOF: it has ended
		return nil, err
	}
	out, err := io.ReadAll(io.LimitReader(stream, limit))
	if err != nil {
		return nil, err
	}
	if _, err := io.Copy(io.Discard, stream); err != nil {
		return nil, err
	}
	return out, stream.Wait()
}

// readBack computes a digest here, of what the host sends: for those that can only do
// SFTP.
func (s *session) readBack(ctx context.Context, path string, n int64) (sum digest, err error) {
	ch := s.any()
	err = ch.do(func() error {
		file, err := ch.Open(path)
		if err != nil {
			return err
		}
		defer file.Close()
		h := sha256.New()
		_, err = file.WriteTo(&bounded{ctx: ctx, w: h, left: n})
		if err != nil && err != errEnough {
			return err
		}
		sum = digest(h.Sum(nil))
		return nil
	})
	return sum, s.reason(err)
}

// bounded writes n bytes, or all if left is negative, until ctx ends.
type bounded struct {
	ctx  context.Context
	w    io.Writer
	left int64
}

var errEnough = errors.New("enough")

func (b *bounded) Write(p []byte) (int, error) {
	if err := b.ctx.Err(); err != nil {
		return 0, err
	}
	if b.left >= 0 && int64(len(p)) >= b.left {
		n := b.left
		b.left = 0
		_, err := b.w.Write(p[:n])
		if err == nil {
			err = errEnough
		}
		return int(n), err
	}
	if b.left > 0 {
		b.left -= int64(len(p))
	}
	return b.w.Write(p)
}
