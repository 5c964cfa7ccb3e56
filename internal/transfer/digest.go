package transfer

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/pkg/sftp"

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
	if d.err != nil && !mine && ctx.Err() == nil && isOfContext(d.err) {
		return j.localDigest(ctx, e, n)
	}
	return d.sum, d.err
}

// digest reads the beginning of a file and returns its digest. A file that is open for a
// copy is not opened again: those who copy would wait for each other.
func (s *store) digest(ctx context.Context, e *entry, n int64) (digest, error) {
	f, err := s.open(ctx, e)
	if err != nil {
		return digest{}, err
	}
	defer f.leave()
	return digestReader(ctx, io.NewSectionReader(f.file, 0, n), n)
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
	host  *Host
	s     *session // nil without SFTP
	stall time.Duration

	mu      sync.Mutex // protects what follows
	waiting []*remoteDigest
	running bool
	without error // why the host cannot: it has no program for it, or no shell; nil: it can
}

// hashed is what of a file a digest is of: n bytes of the beginning, or all if it is
// whole, and then it has about n.
type hashed struct {
	path  string
	n     int64
	whole bool
}

type remoteDigest struct {
	hashed
	done chan struct{}
	sum  digest
	ok   bool
}

// mostHashed is how many files one command names, and mostHashLine how long it gets.
const (
	mostHashed   = 200
	mostHashLine = 64 << 10

	slowestHash  = 1 << 20  // bytes a second of a host that is waited for
	mostPatience = 64 << 30 // bytes: sizes are what the host says
)

// digest returns the digest of a file on the host.
func (h *hasher) digest(ctx context.Context, of hashed) (digest, error) {
	d := &remoteDigest{hashed: of, done: make(chan struct{})}
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
	return h.s.readBack(ctx, of)
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
			if errors.Is(err, ErrStalled) && h.s != nil {
				h.s.fail(err)
			}
		}
		for _, d := range some {
			close(d.done)
		}
	}
}

// stalled reports whether the host has left a command unanswered.
func (h *hasher) stalled() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return errors.Is(h.without, ErrStalled)
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
	var most int64
	for _, d := range some {
		n := "-"
		if !d.whole {
			n = strconv.FormatInt(d.n, 10)
		}
		words = append(words, n, shellquote.Quote(d.path))
		most = max(most, d.n)
	}
	wait := h.stall + time.Duration(min(most, mostPatience)/slowestHash)*time.Second
	out, err := h.host.command(ctx, question{strings.Join(words, " "), int64(len(some)) * 1024, wait})
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

// errTalks is why a command is given up.
var errTalks = errors.New("the host writes more than what it was asked for")

// question is a command whose output is short.
type question struct {
	line  string
	limit int64         // bytes of its output
	wait  time.Duration // for it to write something, or to end
}

// command runs a command on the host and returns what it writes, if it fails too.
func (h *Host) command(ctx context.Context, q question) ([]byte, error) {
	stream, err := h.Exec(ctx, q.line)
	if err != nil {
		return nil, err
	}
	defer stream.Close()
	guard := guardStream(ctx, stream, q.wait)
	defer guard.stop()
	if err = guard.CloseWrite(); err == io.EOF {
		err = nil // it has ended
	}
	var out []byte
	if err == nil {
		out, err = io.ReadAll(io.LimitReader(guard, q.limit+1))
	}
	if err == nil && int64(len(out)) > q.limit {
		return nil, errTalks
	}
	if err == nil {
		err = guard.Wait()
	}
	if err != nil {
		return out, guard.reason(err)
	}
	return out, nil
}

// readAhead is how many blocks are asked for at once when a file is read back.
const readAhead = 8

// readBack computes a digest here, of what the host sends: for those that can only do
// SFTP.
func (s *session) readBack(ctx context.Context, of hashed) (digest, error) {
	ch := s.any()
	var file *sftp.File
	err := ch.do(func() (err error) { file, err = ch.Open(of.path); return err })
	if err != nil {
		return digest{}, s.reason(err)
	}
	defer func() { _ = ch.do(file.Close) }() // nothing was written
	end := of.n
	if of.whole {
		end = max(of.n, mostUnsized) + 1 // beyond it, it is another file
	}
	h := sha256.New()
	size := int64(s.limits.read)
	var blocks [readAhead][]byte
	var errs [readAhead]error
	for off := int64(0); off < end; off += readAhead * size {
		each(ctx, readAhead, readAhead, func(i int) {
			at := off + int64(i)*size
			buf := blocks[i][:0]
			if n := min(size, end-at); n > 0 {
				buf = slices.Grow(buf, int(n))[:n]
			}
			n := 0
			if errs[i] = nil; len(buf) > 0 {
				n, errs[i] = ch.readAt(file, buf, at)
			}
			blocks[i] = buf[:n]
		})
		if ctx.Err() != nil {
			return digest{}, context.Cause(ctx)
		}
		for i, block := range blocks {
			h.Write(block)
			if errs[i] == io.EOF {
				return digest(h.Sum(nil)), nil
			} else if errs[i] != nil {
				return digest{}, s.reason(errs[i])
			}
		}
	}
	return digest(h.Sum(nil)), nil
}
