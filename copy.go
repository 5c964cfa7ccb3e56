package fleetssh

import (
	"context"
	"iter"
	"time"
)

// CopyOptions says how to copy files. Nil means the zero value. It holds no state: the
// same value can be used many times.
type CopyOptions struct {
	// Recursive copies directories with all they contain. Without it a directory is
	// an error.
	Recursive bool

	// Preserve keeps permissions and modification times, to the second. Without it a
	// new file gets the permissions of its source as far as the umask allows, and one
	// that is replaced keeps its own.
	Preserve bool

	// Protocol is SFTP unless set.
	Protocol CopyProtocol

	// HostArgs holds values for the placeholders in all paths, as in [Command], one
	// entry for each host. Nil means that there are none.
	HostArgs []Args

	// MoreSources are further files and directories, copied to the same destination,
	// which then is a directory.
	MoreSources []string

	// Glob lets *, ? and [...] in sources stand for the names they match. A file
	// that is called just so goes first.
	Glob bool

	// Resume goes on with a file that an earlier copy left unfinished, after
	// comparing what is there, and leaves out files that are there whole.
	Resume bool

	// Verify compares checksums (SHA-256) of both sides when a file is done, and
	// before a file is left out because it is there.
	Verify bool

	// Delete removes from directories that were copied what the source does not
	// have. It needs Recursive, and removes nothing where anything went wrong.
	Delete bool

	// Rate bounds the bytes a second of all hosts together. Zero means no bound.
	Rate int64

	// OpenFiles bounds the local files that are open at once, for all hosts
	// together. Zero means 256.
	OpenFiles int

	// Timeout bounds the copy to or from one host. Zero means none.
	Timeout time.Duration

	// StallTimeout is how long a host may leave every request unanswered. Zero means
	// two minutes.
	StallTimeout time.Duration

	// Progress, if not nil, is told how far each file is: at most ten times a second
	// while it is copied, and once when it has ended. Finished, if not nil, is told when
	// host number i has ended. One goroutine at a time calls them. StreamUpload and
	// StreamDownload of a [ParallelClient] tell the same in a loop.
	Progress func(CopyProgress)
	Finished func(i int, r CopyResult)
}

// CopyProtocol is the protocol files are copied with.
type CopyProtocol int

// The protocols. SCP is for hosts without an SFTP server: it copies one file after
// another, cannot resume, and needs scp and sh on the host.
const (
	SFTP CopyProtocol = iota
	SCP
)

// CopyProgress says how far one file on one host is.
type CopyProgress struct {
	Host    HostConfig
	Index   int    // of the host in ParallelClient.Hosts; 0 for a Client
	Path    string // on the host
	Done    int64  // bytes, those that were there included
	Total   int64
	Ended   bool  // nothing more follows for this file
	Skipped bool  // it was there already
	Err     error // why it was not copied, with Ended
}

// CopyResult is the outcome of a copy on one host.
type CopyResult struct {
	Index   int // of the host in ParallelClient.Hosts; 0 for a Client
	Host    HostConfig
	Files   int   // files and links that were copied
	Bytes   int64 // bytes that were carried over
	Skipped int   // files that were there already
	Deleted int   // files and directories removed by Delete
	Failed  int   // files that could not be copied
	Err     error // the first of what went wrong

	// Outcome is Exited with code 0 if everything was copied, and with code 1 if
	// something was not, as scp exits. It is Lost if the connection was lost on the
	// way, Cancelled or TimedOut if the copy was ended here, and as for a command if it
	// could not begin.
	Outcome Outcome

	timing Timing
}

// Timing returns how long each phase took; Run is the copy itself.
func (r *CopyResult) Timing() Timing { return r.timing }

// Upload copies a local file or directory to the host. A remote file appears under its
// name only when it is complete: until then it is called ".NAME.fleetssh-" and eight
// digits, beside its place. If remote is a directory, or ends in a slash, the copy goes
// into it; otherwise that is its name. "dir/." stands for what is in dir. Paths on the
// host that begin with no slash are below the home directory.
//
// Symbolic links in trees are copied as links; one that is named itself is followed. A
// file that is there with the same size and time is left out if Preserve is set. What
// cannot be copied does not hold up the rest.
//
// A copy that is broken off, by ctx or by the connection, leaves a beginning of 1 MiB or
// more for Resume; everything else of it is removed, as far as there is a connection.
//
// The error is that of the result: a [*ConfigError] or [*HostArgumentError], and then
// nothing was contacted; a [*CopyError]; or as for Execute.
func (c *Client) Upload(ctx context.Context, local, remote string, opts *CopyOptions) (CopyResult, error) {
	return c.copyAlone(ctx, upload, local, remote, opts)
}

// Download copies a file or directory from the host. What is said at [Client.Upload] holds
// for it the other way round. Whatever the host says, nothing is written outside local.
func (c *Client) Download(ctx context.Context, remote, local string, opts *CopyOptions) (CopyResult, error) {
	return c.copyAlone(ctx, download, remote, local, opts)
}

// copyAlone copies to or from this host only.
func (c *Client) copyAlone(ctx context.Context, way direction, from, to string, opts *CopyOptions) (CopyResult, error) {
	plan, err := opts.plan(way, []HostConfig{*c.host}, 1, copyPaths{from: from, to: to})
	if err != nil {
		return CopyResult{Host: *c.host, Err: err, Outcome: Outcome{Kind: NotStarted}}, err
	}
	defer plan.job.Close()
	plan.warn(c.d.log)
	r := plan.run(ctx, c, 0)
	plan.tell(0, r)
	return r, r.Err
}

// Upload copies a local file or directory to every host, as [Client.Upload] does. A file is
// read once for all hosts that are at work at the same time, as far as 16 MiB of memory go.
//
// The slice has one entry for each host, in the order of Hosts. The error is nil if
// everything was copied and a [*HostsError] if something was not. If it is a
// [*HostArgumentError] or a [*ConfigError], the slice is nil and no host was contacted.
func (p *ParallelClient) Upload(ctx context.Context, local, remote string, opts *CopyOptions) ([]CopyResult, error) {
	return p.copyAll(ctx, upload, local, remote, opts)
}

// Download copies a file or directory from every host, as [Client.Download] does, into
// the directory local/<host>. The host is named by its alias or name; where others share
// it, ":port" is added, and where that is not enough "#index". With HostArgs, local is
// taken as it is: the placeholders must give every host another. Results and error are as
// for Upload.
func (p *ParallelClient) Download(ctx context.Context, remote, local string, opts *CopyOptions) ([]CopyResult, error) {
	return p.copyAll(ctx, download, remote, local, opts)
}

func (p *ParallelClient) copyAll(ctx context.Context, way direction, from, to string, opts *CopyOptions) ([]CopyResult, error) {
	plan, slots, err := p.planCopy(way, from, to, opts)
	if err != nil {
		return nil, err
	}
	return p.runCopy(ctx, plan, slots)
}

// planCopy makes a copy ready, without contacting a host.
func (p *ParallelClient) planCopy(way direction, from, to string, opts *CopyOptions) (*copyPlan, []*slot, error) {
	slots, err := p.begin(0)
	if err != nil {
		return nil, nil, err
	}
	hosts := make([]HostConfig, len(slots))
	for i := range slots {
		hosts[i] = slots[i].host
	}
	paths := copyPaths{from: from, to: to, byHost: way == download && (opts == nil || opts.HostArgs == nil)}
	plan, err := opts.plan(way, hosts, min(p.poolSize(), len(slots)), paths)
	return plan, slots, err
}

// runCopy carries out a plan on every host, and closes it.
func (p *ParallelClient) runCopy(ctx context.Context, plan *copyPlan, slots []*slot) ([]CopyResult, error) {
	defer plan.job.Close()
	if ctx.Err() == nil {
		plan.warn(p.d.log)
	}
	results := make([]CopyResult, len(slots))
	err := p.each(ctx, slots, func(i int, s *slot) error {
		results[i] = p.copyOne(ctx, plan, s, i)
		plan.tell(i, results[i])
		return results[i].Err
	}, func(i int, s *slot, why error) {
		results[i] = CopyResult{Index: i, Host: s.host, Err: why, Outcome: Outcome{Kind: Skipped}}
		plan.tell(i, results[i])
	})
	return results, err
}

// copyOne copies to or from one host.
func (p *ParallelClient) copyOne(ctx context.Context, plan *copyPlan, s *slot, i int) CopyResult {
	defer s.work.begin(PhaseConnect)()
	var r CopyResult
	link, err := s.use(ctx, p.connectTo(s), func(c *Client) error {
		if p.BeforeStart != nil {
			p.BeforeStart(i)
		}
		s.work.enter(PhaseCopy)
		r = plan.run(ctx, c, i)
		return r.Err
	})
	if link.client == nil {
		return CopyResult{Index: i, Host: s.host, Err: err, Outcome: OutcomeOf(err), timing: link.timing}
	}
	if p.OneShot {
		s.retire(link.client)
	}
	return r
}

// CopyEvent is something that happened to a copy on one host during
// [ParallelClient.StreamUpload] or [ParallelClient.StreamDownload]. One of its fields is set.
type CopyEvent struct {
	Progress *CopyProgress // how far a file is; which host it is on, is in it
	Result   *CopyResult   // how the copy on a host ended: its last event
}

// StreamUpload copies to every host as [ParallelClient.Upload] does, and yields what happens as
// it happens: how far each file is, at most ten times a second for each host and file, and one
// Result for each host. Leaving the loop early, or cancelling ctx, ends the copies. When the
// loop has ended, so has every goroutine behind it. A loop that is slow makes the copies wait.
// The sequence can be used once.
//
// When ctx ends, the loop goes on until every host has had its Result: cancelled if it was at
// work, skipped if it had not begun.
//
// The error is a [*HostArgumentError] or a [*ConfigError], and then no host was contacted. What
// goes wrong on a host is in its Result. Progress and Finished of opts are called as well.
func (p *ParallelClient) StreamUpload(ctx context.Context, local, remote string, opts *CopyOptions) (iter.Seq[CopyEvent], error) {
	return p.streamCopy(ctx, upload, local, remote, opts)
}

// StreamDownload copies from every host as [ParallelClient.Download] does. The rest is as for
// StreamUpload.
func (p *ParallelClient) StreamDownload(ctx context.Context, remote, local string, opts *CopyOptions) (iter.Seq[CopyEvent], error) {
	return p.streamCopy(ctx, download, remote, local, opts)
}

func (p *ParallelClient) streamCopy(ctx context.Context, way direction, from, to string, opts *CopyOptions) (iter.Seq[CopyEvent], error) {
	var own CopyOptions
	if opts != nil {
		own = *opts
	}
	events, left := make(chan CopyEvent), make(chan struct{})
	send := func(e CopyEvent) {
		select {
		case events <- e:
		case <-left:
		}
	}
	progress, finished := own.Progress, own.Finished
	own.Progress = func(c CopyProgress) {
		if progress != nil {
			progress(c)
		}
		send(CopyEvent{Progress: &c})
	}
	own.Finished = func(i int, r CopyResult) {
		if finished != nil {
			finished(i, r)
		}
		send(CopyEvent{Result: &r})
	}
	plan, slots, err := p.planCopy(way, from, to, &own)
	if err != nil {
		return nil, err
	}
	return func(yield func(CopyEvent) bool) {
		ctx, cancel := context.WithCancel(ctx)
		done := make(chan struct{})
		// Runs in any case: after the last host, a break, or a panic in the loop.
		defer func() {
			close(left)
			cancel()
			<-done
		}()
		go func() {
			defer close(done)
			_, _ = p.runCopy(ctx, plan, slots) // each host tells of its end itself
			close(events)
		}()
		for e := range events {
			if !yield(e) {
				return
			}
		}
	}, nil
}
