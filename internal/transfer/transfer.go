// Package transfer copies files between this machine and hosts. It decides what of a tree has to be
// copied and what exists already, and writes each file under a temporary name until it is complete.
// It speaks SFTP and SCP over streams that its caller opens, and knows nothing of SSH.
//
// A local file is read once for all hosts: its blocks are shared, and cached while there is room.
// Hosts are not trusted: their names and links cannot lead out of the destination, and their sizes
// and listings are bounded.
package transfer

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Options say how to copy. The zero value copies single files with SFTP.
type Options struct {
	Recursive bool // copy directories too
	Preserve  bool // keep permissions and times
	Glob      bool // the sources of a download are patterns
	Resume    bool // continue partial files of an earlier copy
	Verify    bool // compare checksums
	Delete    bool // remove what the source does not have

	SCP   bool          // use SCP instead of SFTP
	Rate  int64         // bytes per second for all hosts together; 0: unlimited
	Files int           // local files open at once; 0: 256
	Stall time.Duration // how long a host may leave a request unanswered; 0: two minutes

	Hosts int // largest number of hosts at work at once; 0: one
}

// DefaultStall is the default of Options.Stall.
const DefaultStall = 2 * time.Minute

// defaultFiles is the default of Options.Files.
const defaultFiles = 256

// same reports whether an existing file equals e, judged by type, size, permissions and time. If sure
// is false, the checksums have to decide.
func (o *Options) same(e *entry, existing fs.FileInfo) (same, sure bool) {
	if existing == nil || !existing.Mode().IsRegular() || existing.Size() != e.size || !o.Preserve && !o.Resume && !o.Verify {
		return false, true
	}
	sameTime := sftpTime(existing.ModTime()).Unix() == sftpTime(e.mtime).Unix()
	if o.Preserve && (!sameTime || existing.Mode().Perm() != e.mode.Perm()) {
		return false, true
	}
	return sameTime, sameTime && !o.Verify
}

// Host is how a host is reached.
type Host struct {
	// SFTP opens a channel to the SFTP server.
	SFTP func(ctx context.Context) (Stream, error)
	// Exec starts a command line. Wait of the stream returns how it ended.
	Exec func(ctx context.Context, line string) (Stream, error)
	// Broken reports whether the connection has ended.
	Broken func() bool
}

// Stream is a channel to a program on a host. Close ends a Read or Write that blocks.
type Stream interface {
	io.ReadWriteCloser
	// CloseWrite sends end of file to the program.
	CloseWrite() error
	// Wait blocks until the program has ended and returns nil if its exit status is zero. It
	// must be called after Read has returned an error.
	Wait() error
}

// Progress is how far the copy of one file is.
type Progress struct {
	Path    string // on the host
	Done    int64
	Total   int64
	Ended   bool
	Skipped bool
	Err     error
}

// Result counts the files of one host. Bytes counts what was copied, without what Resume has kept.
type Result struct {
	Files, Skipped, Deleted, Failed int
	Bytes                           int64
}

// Error means that one file could not be copied.
type Error struct {
	Op    string // what was attempted: "open", "read", "write", ...
	Path  string
	Local bool // Path is on this machine
	Err   error
}

// Error implements [error].
func (e *Error) Error() string { return fmt.Sprintf("%s %s: %v", e.Op, e.Path, e.Err) }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Job is a copy to or from many hosts, and holds what they share. Its methods may be called
// concurrently, except Close.
type Job struct {
	opt     Options
	blocks  *blockCache
	limiter *rate.Limiter // nil: unlimited
	digests digests
	buffers sync.Pool // of *[]byte, as large as a block

	listings  listings
	snapshots snapshots

	mu    sync.Mutex // protects what follows
	trees map[string]*sharedTree
}

// New returns a job. The caller must call Close when all copies have ended.
func New(opt Options) *Job {
	if opt.Files == 0 {
		opt.Files = defaultFiles
	}
	if opt.Stall == 0 {
		opt.Stall = DefaultStall
	}
	opt.Hosts = max(opt.Hosts, 1)
	j := &Job{opt: opt, trees: make(map[string]*sharedTree)}
	j.blocks = newBlockCache(cacheBudget, j.blockSize(), opt.Files)
	size := j.blockSize()
	j.buffers.New = func() any { b := make([]byte, size); return &b }
	if opt.Rate > 0 {
		j.limiter = rate.NewLimiter(rate.Limit(opt.Rate), int(min(opt.Rate, int64(j.blockSize()))))
	}
	return j
}

// Close frees the memory of the job. No copy may be running.
func (j *Job) Close() { j.blocks.close() }

// The memory of a job, for all hosts together: cached blocks, and blocks in flight.
const (
	cacheBudget    = 16 << 20
	inFlightBudget = 32 << 20
	maxBlock       = 255 << 10 // what OpenSSH's server takes
	minBlock       = 32 << 10  // what every server takes (SFTP, section 3)
	maxInFlight    = 80        // blocks in flight on one host
)

// blockSize returns how many bytes of a file are requested at once. Many hosts have to share the
// memory, so their blocks are smaller.
func (j *Job) blockSize() int {
	if j.opt.Hosts > 1 {
		return max(minBlock, min(maxBlock, inFlightBudget/2/j.opt.Hosts))
	}
	return maxBlock
}

// inFlight returns how many blocks may be in flight on one host.
func (j *Job) inFlight() int {
	most := min(maxInFlight, inFlightBudget/j.opt.Hosts/j.blockSize())
	if j.opt.Rate > 0 {
		// Half a second's worth: a host with more blocks in the queue would get a larger share.
		most = int(min(int64(most), j.opt.Rate/2/int64(j.opt.Hosts*j.blockSize())))
	}
	return max(2, most)
}

// workers returns how many files of one host are copied at once.
func (j *Job) workers() int { return max(1, min(64, j.opt.Files/j.opt.Hosts)) }

// maxChannels returns how many channels one host may have. OpenSSH allows ten sessions on a
// connection (MaxSessions); some are left to other users of the connection.
func (j *Job) maxChannels() int { return max(1, min(8, 64/j.opt.Hosts)) }

// throttle blocks until the rate allows n more bytes.
func (j *Job) throttle(ctx context.Context, n int) error {
	if j.limiter == nil {
		return nil
	}
	for n > 0 {
		step := min(n, j.limiter.Burst())
		// WaitN would fail at once if the deadline came first.
		turn := j.limiter.ReserveN(time.Now(), step)
		timer := time.NewTimer(turn.Delay())
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			turn.Cancel()
			return context.Cause(ctx)
		}
		n -= step
	}
	return nil
}
