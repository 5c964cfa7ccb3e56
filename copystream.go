package fleetssh

import (
	"context"
	"iter"
)

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
