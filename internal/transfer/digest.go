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
	"sync"
	"time"

	"github.com/pkg/sftp"
)

// digest is the SHA-256 of a file or of its beginning.
type digest [sha256.Size]byte

// digests caches the digests of local files. Each is computed once for all hosts.
type digests struct {
	mu sync.Mutex // protects what follows
	by map[digestKey]*localDigest
}

type digestKey struct {
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
	key := digestKey{e.path, n}
	j.digests.mu.Lock()
	if j.digests.by == nil {
		j.digests.by = make(map[digestKey]*localDigest)
	}
	d := j.digests.by[key]
	mine := d == nil
	if mine {
		d = &localDigest{done: make(chan struct{})}
		j.digests.by[key] = d
	}
	j.digests.mu.Unlock()
	if mine {
		d.sum, d.err = j.blocks.digest(ctx, e, n)
		if d.err != nil { // perhaps because this host's context ended: others try again
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

// digest reads the first n bytes of a file and returns their digest. It shares a file that is open
// for a copy: opening it again needs a second slot, and copies could wait for each other forever.
func (c *blockCache) digest(ctx context.Context, e *entry, n int64) (digest, error) {
	f, err := c.open(ctx, e)
	if err != nil {
		return digest{}, err
	}
	defer f.release()
	return digestReader(ctx, io.NewSectionReader(f.file, 0, n), n)
}

// digestReader returns the digest of n bytes of r, or errChanged if r has fewer.
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

// hasher gets digests of files on a host. One command computes many of them.
type hasher struct {
	host  *Host
	s     *session // nil without SFTP
	stall time.Duration

	mu          sync.Mutex // protects what follows
	waiting     []*remoteDigest
	running     bool
	unavailable error // why the host computes none: it has no program for it, or no shell; nil: it can
}

// hashed describes what a digest covers: the first n bytes of a file, or all of it if whole is set.
// Then n is its expected size.
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

// How long a host may take to compute a checksum, besides the stall timeout: a second for each
// slowestHash bytes of the largest file, up to maxHashWait bytes, since sizes come from the host.
const (
	slowestHash = 1 << 20 // bytes a second
	maxHashWait = 64 << 30
)

// digest returns the digest of a file on the host. If the host has no program for it, the file is
// read over SFTP.
func (h *hasher) digest(ctx context.Context, of hashed) (digest, error) {
	d := &remoteDigest{hashed: of, done: make(chan struct{})}
	h.mu.Lock()
	ask := h.unavailable == nil
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
		if h.unavailable != nil {
			return digest{}, fmt.Errorf("the host computes no checksums: %w", h.unavailable)
		}
		return digest{}, errors.New("the host cannot read the file")
	}
	return h.s.readBack(ctx, of)
}

// work computes the waiting digests, and those that are added while it runs.
func (h *hasher) work(ctx context.Context) {
	for {
		h.mu.Lock()
		n := fitOnLine(len(h.waiting), func(i int) int { return len(h.waiting[i].path) })
		some := h.waiting[:n:n]
		h.waiting = h.waiting[n:]
		if len(some) == 0 {
			h.running = false
			h.mu.Unlock()
			return
		}
		h.mu.Unlock()
		if err := h.run(ctx, some); err != nil && ctx.Err() == nil {
			h.mu.Lock()
			h.unavailable = err
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

// stalled reports whether a command on the host timed out.
func (h *hasher) stalled() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return errors.Is(h.unavailable, ErrStalled)
}

// run computes some digests with one command. Those that the host cannot compute stay not ok.
func (h *hasher) run(ctx context.Context, some []*remoteDigest) error {
	var args []string
	var longest int64
	for _, d := range some {
		n := "-"
		if !d.whole {
			n = strconv.FormatInt(d.n, 10)
		}
		args = append(args, n, d.path)
		longest = max(longest, d.n)
	}
	wait := h.stall + time.Duration(min(longest, maxHashWait)/slowestHash)*time.Second
	out, err := h.host.command(ctx, shortCommand{programLine(hashProgram, args...), int64(len(some)) * 1024, wait})
	if err != nil {
		return err
	}
	lines := bytes.Split(bytes.TrimSuffix(out, []byte("\n")), []byte("\n"))
	if len(lines) != len(some) {
		return fmt.Errorf("checksums on the host: %d lines for %d files", len(lines), len(some))
	}
	for i, line := range lines {
		// sha256sum starts a line with a backslash if the name needs escapes.
		line = bytes.TrimPrefix(line, []byte(`\`))
		if len(line) >= 2*sha256.Size {
			_, err := hex.Decode(some[i].sum[:], line[:2*sha256.Size])
			some[i].ok = err == nil
		}
	}
	return nil
}

var errTooMuchOutput = errors.New("the host writes more than it was asked for")

// shortCommand is a command with little output.
type shortCommand struct {
	line  string
	limit int64         // bytes of output
	wait  time.Duration // how long it may be silent
}

// command runs a command on the host and returns its output, also if it fails.
func (h *Host) command(ctx context.Context, q shortCommand) ([]byte, error) {
	stream, err := h.Exec(ctx, q.line)
	if err != nil {
		return nil, err
	}
	defer stream.Close()
	guard := guardStream(ctx, stream, q.wait)
	defer guard.stop()
	if err = guard.CloseWrite(); err == io.EOF {
		err = nil // the program has ended already
	}
	var out []byte
	if err == nil {
		out, err = io.ReadAll(io.LimitReader(guard, q.limit+1))
	}
	if err == nil && int64(len(out)) > q.limit {
		return nil, errTooMuchOutput
	}
	if err == nil {
		err = guard.Wait()
	}
	if err != nil {
		return out, guard.reason(err)
	}
	return out, nil
}

// readAhead is how many blocks readBack requests at once.
const readAhead = 8

// readBack reads a file over SFTP and computes its digest here, for hosts that run no commands.
func (s *session) readBack(ctx context.Context, of hashed) (digest, error) {
	ch := s.nextChannel()
	var file *sftp.File
	err := ch.do(func() (err error) { file, err = ch.Open(of.path); return err })
	if err != nil {
		return digest{}, s.reason(err)
	}
	defer func() { _ = ch.do(file.Close) }() // safe to ignore: the file was only read
	end := of.n
	if of.whole {
		end = max(of.n, maxUnsized) + 1 // a longer file has another digest anyway
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
