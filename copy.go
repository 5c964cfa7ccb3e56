package fleetssh

import (
	"context"
	"iter"
	"time"
)

// CopyOptions are the settings of a copy. Nil means the zero value. They hold no state: the
// same value can be used many times.
type CopyOptions struct {
	// Recursive copies directories with everything in them. Without it, a directory is an
	// error.
	Recursive bool

	// Preserve keeps permissions and modification times, to the second. Without it, a new file
	// gets the permissions of its source, limited by the umask, and a file that is replaced
	// keeps its own permissions.
	Preserve bool

	// Protocol is the protocol to copy with. Zero means SFTP.
	Protocol CopyProtocol

	// HostArgs holds the values for the placeholders in all paths, as in [Command], one entry
	// for each host. Nil means that the paths have no placeholders.
	HostArgs []Args

	// MoreSources are further files and directories to copy to the same destination, which is
	// then a directory.
	MoreSources []string

	// Glob expands *, ? and [...] in sources to the matching names. A file whose name is
	// exactly the pattern takes precedence.
	Glob bool

	// Resume continues files that an earlier copy left incomplete, after comparing the existing
	// part, and skips files that are complete.
	Resume bool

	// Verify compares checksums (SHA-256) of both sides when a file is complete, and before an
	// existing file is skipped.
	Verify bool

	// Delete removes files from the copied directories that the source does not have. It needs
	// Recursive, and removes nothing if anything went wrong in the copy.
	Delete bool

	// Install, if not nil, puts the files of an upload in place with another owner or mode, or as
	// root. Nil means that the login account writes them.
	Install *Install

	// Rate bounds the bytes per second of all hosts together. Zero means no bound.
	Rate int64

	// OpenFiles bounds the local files that are open at once, for all hosts together. Zero
	// means 256.
	OpenFiles int

	// Timeout bounds the copy to or from one host. Zero means none.
	Timeout time.Duration

	// StallTimeout is how long a host may leave all requests unanswered. Zero means two
	// minutes.
	StallTimeout time.Duration

	// Progress, if not nil, is called with the progress of each file: at most ten times a
	// second while it is copied, and once when it has ended. Finished, if not nil, is called
	// when host number i has ended. Calls do not overlap, but may come from any goroutine.
	// StreamUpload and StreamDownload of a [ParallelClient] report the same in a loop.
	Progress func(CopyProgress)
	Finished func(i int, r CopyResult)
}

// CopyProtocol is a protocol for copying files.
type CopyProtocol int

// The protocols. SCP is for hosts without an SFTP server: it copies one file at a time, cannot
// resume, and needs scp and sh on the host.
const (
	SFTP CopyProtocol = iota
	SCP
)

// CopyProgress is the progress of one file on one host.
type CopyProgress struct {
	Host    HostConfig
	Index   int    // of the host in ParallelClient.Hosts; 0 for a Client
	Path    string // on the host
	Done    int64  // bytes, including the bytes that were there before
	Total   int64
	Ended   bool  // this is the last report on the file
	Skipped bool  // it existed already
	Err     error // the reason why it was not copied; set with Ended only
}

// CopyResult is the outcome of a copy on one host.
type CopyResult struct {
	Index   int // of the host in ParallelClient.Hosts; 0 for a Client
	Host    HostConfig
	Files   int   // copied files and links
	Bytes   int64 // transferred bytes
	Skipped int   // files that existed already
	Deleted int   // files and directories removed by Delete
	Failed  int   // files that could not be copied
	Err     error // the first error

	// Outcome is Exited with code 0 if everything was copied, and with code 1 if something was
	// not, as scp exits. It is Lost if the connection was lost during the copy, and Cancelled
	// or TimedOut if this side ended the copy. If the copy could not start, it is the same as
	// for a command.
	Outcome Outcome

	timing Timing
}

// Timing returns how long each phase took; Run is the copy itself.
func (r *CopyResult) Timing() Timing { return r.timing }

// Upload copies a local file or directory to the host. A remote file appears under its name
// only when it is complete: until then it is called ".NAME.fleetssh-" and eight digits, in the
// same directory. If remote is a directory, or ends in a slash, the copy goes into it;
// otherwise remote is the name of the copy. "dir/." means the contents of dir. Remote paths
// without a leading slash are relative to the home directory.
//
// Symbolic links in trees are copied as links; a link given as the source is followed. With
// Preserve, an existing file with the same size and time is skipped. If something cannot be
// copied, the copy continues with the rest.
//
// If ctx or the connection ends during the copy, a partial file of 1 MiB or more remains for
// Resume. Everything else of an incomplete copy is removed if the connection still works.
//
// The error is the Err of the result. If it is a [*ConfigError] or [*HostArgumentError], no
// host was contacted. Otherwise it is a [*CopyError], or as for Execute.
func (c *Client) Upload(ctx context.Context, local, remote string, opts *CopyOptions) (CopyResult, error) {
	return c.copyAlone(ctx, upload, local, remote, opts)
}

// Download copies a file or directory from the host. The rules of [Client.Upload] apply in the
// other direction. Whatever names the host sends, nothing is written outside local.
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
// read once for all hosts that are copying it at the same time, within 16 MiB of memory.
//
// The slice has one entry for each host, in the order of Hosts. The error is nil if everything
// was copied and a [*HostsError] if something was not. If it is a [*HostArgumentError] or a
// [*ConfigError], the slice is nil and no host was contacted.
func (p *ParallelClient) Upload(ctx context.Context, local, remote string, opts *CopyOptions) ([]CopyResult, error) {
	return p.copyAll(ctx, upload, local, remote, opts)
}

// Download copies a file or directory from every host, as [Client.Download] does, into the
// directory local/<host>. The directory is named after the alias or name of the host. ":port"
// is added if several hosts share the name, and "#index" instead if they share the port too.
// With HostArgs, local is used as it is: the placeholders must give each host a different path.
// Results and error are as for Upload.
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

// planCopy prepares a copy without contacting a host.
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

// runCopy executes a plan on every host, and closes it.
func (p *ParallelClient) runCopy(ctx context.Context, plan *copyPlan, slots []*slot) ([]CopyResult, error) {
	defer plan.job.Close()
	if ctx.Err() == nil {
		plan.warn(p.d.log)
	}
	results := make([]CopyResult, len(slots))
	err := p.each(ctx, slots, func(ctx context.Context, i int, s *slot) error {
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

// CopyEvent is an event of a copy on one host during [ParallelClient.StreamUpload] or
// [ParallelClient.StreamDownload]. Exactly one of its fields is set.
type CopyEvent struct {
	Progress *CopyProgress // the progress of a file; it names the host
	Result   *CopyResult   // the result of a host: its last event
}

// StreamUpload copies to every host as [ParallelClient.Upload] does, and yields events as they
// happen: the progress of each file, at most ten times a second for each host and file, and one
// Result for each host. Leaving the loop early, or cancelling ctx, ends the copies. When the
// loop has ended, all its goroutines have ended. A slow loop slows the copies down. The
// sequence can be used once.
//
// When ctx ends, the loop continues until it has yielded the Result of every host: cancelled if
// the host was copying, skipped if it had not begun.
//
// The error is a [*HostArgumentError] or a [*ConfigError]; no host was contacted then. Errors
// of a host are in its Result. Progress and Finished of opts are called as well.
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
		// Deferred, so that it also runs after a break or a panic in the loop.
		defer func() {
			close(left)
			cancel()
			<-done
		}()
		go func() {
			defer close(done)
			_, _ = p.runCopy(ctx, plan, slots) // the error is not needed: each host has sent its Result
			close(events)
		}()
		for e := range events {
			if !yield(e) {
				return
			}
		}
	}, nil
}
