package transfer

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pkg/sftp"
)

// session is SFTP with one host. It begins with one channel and opens more where that is faster,
// since each has its own window and server process.
type session struct {
	job       *Job
	host      *Host
	limits    limits
	roundTrip time.Duration

	listing *listing // memory of the host's listings

	inFlight chan struct{} // one token for each block in flight
	files    chan struct{} // one token for each file open on the host
	turn     atomic.Uint32
	quit     chan struct{} // closed by close
	done     chan struct{} // closed when broken is set, or by close
	wg       sync.WaitGroup

	mu       sync.Mutex // protects what follows
	channels []*channel
	broken   error // why the session has failed; nil: it has not
}

// channel is one channel of a session.
type channel struct {
	*sftp.Client
	stream Stream
	host   *listing

	busy       atomic.Int32 // unanswered requests
	lastActive atomic.Int64 // time of the last byte in or out, in nanoseconds

	mu      sync.Mutex // protects what follows
	listing int        // directories that are being listed
	listed  int64      // bytes received for them
}

var (
	// ErrStalled means that the host left a request unanswered for Options.Stall.
	ErrStalled = errors.New("no answer")
	// ErrLost means that the connection or the SFTP server ended during the copy.
	ErrLost = errors.New("connection lost")
)

// newSession starts SFTP on a host. The caller must call close.
func (j *Job) newSession(ctx context.Context, host *Host) (*session, error) {
	s := &session{job: j, host: host, quit: make(chan struct{}), done: make(chan struct{})}
	s.listing = j.listings.newListing(s.done)
	ch, greeting, err := s.open(ctx)
	if err != nil {
		s.listing.close()
		return nil, err
	}
	s.channels = []*channel{ch}
	s.limits, s.roundTrip = greeting.limits, greeting.roundTrip
	flight := j.inFlight()
	if !s.far() {
		flight = min(flight, nearInFlight)
	}
	s.inFlight = make(chan struct{}, flight)
	handles := j.workers()
	if most := s.limits.handles; most > 0 && most < uint64(2*handles) {
		handles = max(1, int(most/2)) // open directories count as well
	}
	s.files = make(chan struct{}, handles)
	s.wg.Go(s.watch)
	return s, nil
}

// open opens a channel and starts SFTP on it.
func (s *session) open(ctx context.Context) (*channel, *greeting, error) {
	stream, err := s.host.SFTP(ctx)
	if err != nil {
		return nil, nil, err
	}
	// A silent server has until the context ends, and no longer than the stall timeout.
	ctx, cancel := context.WithTimeoutCause(ctx, s.job.opt.Stall, ErrStalled)
	defer cancel()
	free := context.AfterFunc(ctx, func() { stream.Close() })
	ch := &channel{stream: stream, host: s.listing}
	ch.touch()
	greeting, err := greet(stream)
	if err == nil {
		w := newBatch(&activityStream{stream, ch})
		ch.Client, err = greeting.newClient(bufio.NewReaderSize(&activityStream{stream, ch}, minBlock), w)
	}
	if err != nil {
		err = startError(ctx, stream, err)
		free()
		stream.Close()
		return nil, nil, err
	}
	if !free() {
		ch.close()
		return nil, nil, context.Cause(ctx)
	}
	return ch, greeting, nil
}

// startError returns why SFTP did not start. err is the error of the handshake.
func startError(ctx context.Context, stream Stream, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if other, ok := errors.AsType[*NotSFTPError](err); ok {
		other.readRest(stream)
		return other
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		exit := stream.Wait()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if exit != nil {
			return fmt.Errorf("the SFTP server ended at once: %w", exit)
		}
		return errors.New("the SFTP server ended at once")
	}
	return err
}

// activityStream records when bytes come in or go out, and counts those of listings.
type activityStream struct {
	Stream
	ch *channel
}

func (n *activityStream) Read(p []byte) (int, error) {
	k, err := n.Stream.Read(p)
	n.ch.touch()
	if err == nil {
		err = n.ch.countListed(k)
	}
	return k, err
}

// Write writes in pieces: over a slow line a whole block takes longer than the stall timeout.
func (n *activityStream) Write(p []byte) (written int, err error) {
	for err == nil && written < len(p) {
		var k int
		k, err = n.Stream.Write(p[written:min(len(p), written+minBlock)])
		written += k
		n.ch.touch()
	}
	return written, err
}

func (ch *channel) touch() { ch.lastActive.Store(time.Now().UnixNano()) }

// list makes a request that lists a directory. The bytes received for it are reserved until it ends.
func (ch *channel) list(request func() error) error {
	ch.mu.Lock()
	ch.listing++
	ch.mu.Unlock()
	defer func() {
		ch.mu.Lock()
		defer ch.mu.Unlock()
		mine := ch.listed / int64(ch.listing) // an estimate: requests share the channel
		ch.listing--
		ch.listed -= mine
		ch.host.release(amount{bytes: mine})
	}()
	return ch.do(request)
}

// countListed counts n received bytes while a directory is listed. It may block until other hosts
// need less memory, and fails if the host has sent too much.
func (ch *channel) countListed(n int) error {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	if ch.listing == 0 {
		return nil
	}
	ch.listed += int64(n)
	return ch.host.reserve(amount{bytes: int64(n)})
}

// do makes a request. Every request goes through it, so that watch sees unanswered ones.
func (ch *channel) do(request func() error) (err error) {
	if ch.busy.Add(1) == 1 {
		ch.touch()
	}
	defer ch.busy.Add(-1)
	defer func() {
		// The SFTP library accepts a status of OK where data has to come, and then panics on
		// the missing data.
		if recover() != nil {
			err = errProtocol
		}
	}()
	return request()
}

var errProtocol = errors.New("the host breaks the SFTP protocol")

// readAt fills p, or reads up to the end of the file and returns io.EOF.
func (ch *channel) readAt(file *sftp.File, p []byte, off int64) (n int, err error) {
	err = ch.do(func() (err error) { n, err = file.ReadAt(p, off); return err })
	if err == nil && n < len(p) {
		err = errProtocol
	}
	return n, err
}

// fileInfo makes a request whose answer describes a file.
func (ch *channel) fileInfo(request func() (fs.FileInfo, error)) (info fs.FileInfo, err error) {
	err = ch.do(func() error { info, err = request(); return err })
	if err != nil {
		return nil, err
	}
	if is, ok := info.Sys().(*sftp.FileStat); !ok || is == nil {
		return nil, errProtocol
	}
	return info, nil
}

func (ch *channel) close() {
	ch.stream.Close()
	if ch.Client != nil {
		ch.Client.Close()
	}
}

// watch fails the session if a request stays unanswered for the stall timeout. Waiting for our own
// limits does not count.
func (s *session) watch() {
	limit := s.job.opt.Stall
	ticker := time.NewTicker(max(limit/8, time.Millisecond))
	defer ticker.Stop()
	for {
		select {
		case <-s.quit:
			return
		case now := <-ticker.C:
			for _, ch := range s.allChannels() {
				if s.listing.isWaiting() {
					ch.touch()
				}
				if ch.busy.Load() > 0 && now.UnixNano()-ch.lastActive.Load() > int64(limit) {
					s.fail(fmt.Errorf("%w within %v", ErrStalled, limit))
				}
			}
		}
	}
}

// fail ends the session and with it all requests. The first reason counts.
func (s *session) fail(exit error) {
	s.mu.Lock()
	if s.broken == nil {
		s.broken = exit
	}
	s.closeDone()
	channels := s.channels
	s.mu.Unlock()
	for _, ch := range channels {
		ch.stream.Close()
	}
}

// closeDone closes done, which ends waits for other hosts. mu must be held.
func (s *session) closeDone() {
	select {
	case <-s.done:
	default:
		close(s.done)
	}
}

// reason returns why a request has failed: what ended the session, or err itself.
func (s *session) reason(err error) error {
	if err == nil {
		return nil
	}
	// A bare io.EOF is an answer of the server. A wrapped one comes from a failed write.
	lost := errors.Is(err, sftp.ErrSSHFxConnectionLost) || errors.Is(err, io.ErrClosedPipe) || err != io.EOF && errors.Is(err, io.EOF)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken == nil && (lost || s.host.Broken()) {
		s.broken = ErrLost
	}
	if s.broken != nil && (lost || s.host.Broken()) {
		return s.broken
	}
	return err
}

// ended returns why the session has failed, or nil.
func (s *session) ended() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.broken
}

// allChannels returns the channels. The slice is never changed.
func (s *session) allChannels() []*channel {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.channels
}

// nextChannel returns the channels in turn.
func (s *session) nextChannel() *channel {
	channels := s.allChannels()
	return channels[int(s.turn.Add(1))%len(channels)]
}

// channelsOf returns the channels that carry a file of this size. Each call begins with another one.
func (s *session) channelsOf(size int64) []*channel {
	all := s.allChannels()
	first := int(s.turn.Add(1)) % len(all)
	n := min(len(all), 1+int(size/(4<<20)))
	return append(append([]*channel(nil), all[first:]...), all[:first]...)[:n]
}

// openAll opens a file on channels, at once. Those that fail are left out: there is one
// already.
func openAll(channels []*channel, open func(*channel) (*sftp.File, error)) (handles []*sftp.File, via []*channel) {
	opened := make([]*sftp.File, len(channels))
	each(context.Background(), len(channels), len(channels), func(i int) {
		_ = channels[i].do(func() (err error) { opened[i], err = open(channels[i]); return err })
	})
	for i, handle := range opened {
		if handle != nil {
			handles, via = append(handles, handle), append(via, channels[i])
		}
	}
	return handles, via
}

// closeAll closes a file on its channels, at once, and returns the first error.
func closeAll(handles []*sftp.File, via []*channel) error {
	errs := make([]error, len(handles))
	each(context.Background(), len(handles), len(handles), func(i int) { errs[i] = via[i].do(handles[i].Close) })
	return firstError(errs...)
}

// grow opens channels until there are n, or until the host refuses one more.
func (s *session) grow(ctx context.Context, n int) {
	more := min(n, s.job.maxChannels()) - len(s.allChannels())
	each(ctx, more, more, func(int) {
		ch, _, err := s.open(ctx)
		if err != nil {
			return
		}
		s.mu.Lock()
		if s.broken == nil {
			s.channels = append(s.channels[:len(s.channels):len(s.channels)], ch)
			ch = nil
		}
		s.mu.Unlock()
		if ch != nil {
			ch.close()
		}
	})
}

// nearInFlight is how many blocks may be in flight to a near host. More of them only fall out of the
// processor's caches.
const nearInFlight = 16

// far reports whether a round trip takes long enough for latency to matter.
func (s *session) far() bool { return s.roundTrip > 2*time.Millisecond }

// channelsFor returns how many channels so many files and bytes are worth. The limit of one channel
// is its window on a far host, and its server process on a near one.
func (s *session) channelsFor(files int, bytes int64) int {
	if s.far() {
		return max(1, files/64, int(min(bytes/(4<<20), 100)))
	}
	return max(1, min(files/128, 4))
}

// close ends the session and waits for its goroutines.
func (s *session) close() {
	close(s.quit)
	s.mu.Lock()
	s.closeDone()
	s.mu.Unlock()
	s.wg.Wait()
	for _, ch := range s.allChannels() {
		ch.stream.Close() // all at once: ch.close waits
	}
	for _, ch := range s.allChannels() {
		ch.close()
	}
	s.listing.close()
}
