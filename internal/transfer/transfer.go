// Package transfer knows how files get from one machine to another: what of a tree is to
// be copied, under which names it stands until it is whole, and what of it is there
// already. It speaks SFTP and SCP over streams that its caller opens, and knows no SSH.
//
// A local file is read once for all hosts: its blocks are shared, and kept as long as
// there is room. What a host says is not trusted: its names and links cannot lead out of
// the destination, and its sizes and listings are bounded.
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
	Recursive bool // directories too
	Preserve  bool // permissions and times
	Glob      bool // sources are patterns
	Resume    bool // go on with what an earlier copy left
	Verify    bool // compare checksums
	Delete    bool // remove what the source does not have

	SCP   bool
	Rate  int64         // bytes a second, of all hosts; 0: no bound
	Files int           // local files open at once; 0: 256
	Stall time.Duration // longest silence of a host that has been asked; 0: two minutes

	Hosts int // that are copied to or from at the same time, at most
}

// DefaultStall is what 0 means for Options.Stall, and defaultFiles for Options.Files.
const (
	DefaultStall = 2 * time.Minute
	defaultFiles = 256
)

// same reports whether what is there is the file, as far as its kind, size, permissions and
// time tell, and whether that is sure: otherwise the checksums decide.
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
	// Exec starts a command line. What Close returns says how it ended.
	Exec func(ctx context.Context, line string) (Stream, error)
	// Broken reports whether the connection has ended.
	Broken func() bool
}

// Stream is a channel to a program on a host. Close frees a Read or Write that waits.
type Stream interface {
	io.ReadWriteCloser
	// CloseWrite says that no more will be written.
	CloseWrite() error
	// Wait waits until the program has ended and returns nil if its exit code is zero. It
	// must be called after Read has returned an error.
	Wait() error
}

// Progress says how far one file is.
type Progress struct {
	Path    string // on the host
	Done    int64
	Total   int64
	Ended   bool
	Skipped bool
	Err     error
}

// Result counts what was copied on one host.
type Result struct {
	Files, Skipped, Deleted, Failed int
	Bytes                           int64
}

// Error means that one file could not be copied.
type Error struct {
	Op    string // what was done with it: "open", "read", "write", ...
	Path  string
	Local bool // Path is on this machine
	Err   error
}

// Error implements [error].
func (e *Error) Error() string { return fmt.Sprintf("%s %s: %v", e.Op, e.Path, e.Err) }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Job is a copy to or from a number of hosts: what they share.
type Job struct {
	opt     Options
	blocks  *blockCache
	limiter *rate.Limiter // nil: no bound
	digests digests
	buffers sync.Pool // of *[]byte, as large as a block

	listings  listings
	snapshots snapshots

	mu    sync.Mutex // protects what follows
	trees map[string]*sharedTree
}

// New returns a job. Close must be called in the end.
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

// Close gives up what the job has kept. Nothing of it may be at work any more.
func (j *Job) Close() { j.blocks.close() }

// The memory of a job: blocks kept for hosts that have not taken them yet, and blocks on
// their way, of all hosts together.
const (
	cacheBudget    = 16 << 20
	inFlightBudget = 32 << 20
	maxBlock       = 255 << 10 // what OpenSSH's server takes
	minBlock       = 32 << 10  // what every server takes (SFTP, section 3)
	maxInFlight    = 80        // blocks on their way on one host
)

// blockSize returns how many bytes of a file are carried at once: fewer where many hosts
// have to share the memory.
func (j *Job) blockSize() int {
	if j.opt.Hosts > 1 {
		return max(minBlock, min(maxBlock, inFlightBudget/2/j.opt.Hosts))
	}
	return maxBlock
}

// inFlight returns how many blocks may be on their way on one host.
func (j *Job) inFlight() int {
	most := min(maxInFlight, inFlightBudget/j.opt.Hosts/j.blockSize())
	if j.opt.Rate > 0 {
		// Half a second's worth: a host with more of them in the queue would get more.
		most = int(min(int64(most), j.opt.Rate/2/int64(j.opt.Hosts*j.blockSize())))
	}
	return max(2, most)
}

// workers returns how many files of one host are copied at once.
func (j *Job) workers() int { return max(1, min(64, j.opt.Files/j.opt.Hosts)) }

// maxChannels returns how many channels one host may have. OpenSSH allows ten
// sessions on a connection (MaxSessions): some are left to others.
func (j *Job) maxChannels() int { return max(1, min(8, 64/j.opt.Hosts)) }

// throttle waits until n bytes may be carried.
func (j *Job) throttle(ctx context.Context, n int) error {
	if j.limiter == nil {
		return nil
	}
	for n > 0 {
		step := min(n, j.limiter.Burst())
		// Not WaitN: that fails at once where the deadline comes first.
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
