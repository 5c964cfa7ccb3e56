package fleetssh

import "context"

// Run runs cmd on every host to its end, PoolSize hosts at a time, and returns what each host
// has made of it: with its outcome, and with its output, which is read afterwards. Of output
// that is larger than OutputMemory the rest is on disk. Input of OpenStdin is at its end.
//
// When ctx ends, commands that run are stopped as by [HostOutput.Stop], and hosts that have not
// begun are skipped.
//
// The slice has one entry for each host, in the order of Hosts. The error is nil if every
// command exited with code zero, and otherwise a [*HostsError] with the error of
// [HostOutput.WaitFinished] for each that did not. If it is a [*HostArgumentError] or a
// [*ConfigError], the slice is nil and no host was contacted.
//
// Use [ParallelClient.Stream] to see output as it comes, and RunCommand to leave commands running.
func (p *ParallelClient) Run(ctx context.Context, cmd Command) ([]*HostOutput, error) {
	slots, err := p.begin(0)
	if err != nil {
		return nil, err
	}
	r, err := cmd.prepare(len(slots), p.d)
	if err != nil {
		return nil, err
	}
	r.play()
	outs := make([]*HostOutput, len(slots))
	err = p.each(ctx, slots, func(i int, s *slot) error {
		outs[i] = p.runToEnd(ctx, s, i, r)
		return outs[i].Channel.result()
	}, func(i int, s *slot, why error) { outs[i] = newFailed(i, s.host, "", why) })
	r.closeAfter(outs)
	return outs, err
}

// runToEnd runs the command on host number i to its end.
func (p *ParallelClient) runToEnd(ctx context.Context, s *slot, i int, r *run) *HostOutput {
	defer s.work.begin(PhaseConnect)()
	out := p.start(ctx, s, i, r.starter(i))
	if out.Err != nil {
		return out
	}
	s.work.enter(PhaseRun)
	if out.Channel.input != nil {
		out.Channel.input.finish()
	}
	select {
	case <-out.Channel.done:
	case <-ctx.Done():
		_ = out.Stop(context.WithoutCancel(ctx)) // its outcome says whether that is confirmed
	}
	p.settle(s, out)
	return out
}

// settle retires a connection that is of no more use after a command: always with OneShot, and
// when the host has not confirmed the end of what was stopped.
func (p *ParallelClient) settle(s *slot, out *HostOutput) {
	o := out.Outcome()
	stopped := o.Kind == TimedOut || o.Kind == Cancelled
	if p.OneShot || stopped && !o.Stopped || out.Channel.client.conn.IsDone() {
		s.retire(out.Channel.client)
	}
}

// RunCommand starts cmd on every host and returns when each host has either
// accepted it or failed. The commands run on, also when ctx ends after the return:
// Join waits for them.
//
// The slice has one entry for each host, in the order of Hosts. The error is nil if
// every host started and a [*HostsError] if some did not. If it is a
// [*HostArgumentError] or a [*ConfigError], the slice is nil and no host was
// contacted.
func (p *ParallelClient) RunCommand(ctx context.Context, cmd Command) ([]*HostOutput, error) {
	outs, err := p.runCommand(ctx, cmd)
	p.mu.Lock()
	p.last, p.lastErr = outs, nil
	if outs == nil {
		p.lastErr = err
	}
	p.mu.Unlock()
	return outs, err
}

func (p *ParallelClient) runCommand(ctx context.Context, cmd Command) ([]*HostOutput, error) {
	slots, err := p.begin(0)
	if err != nil {
		return nil, err
	}
	r, err := cmd.prepare(len(slots), p.d)
	if err != nil {
		return nil, err
	}
	// Before the first start: Command.Timeout runs from then on, while other hosts are
	// still being connected to.
	r.play()
	outs, err := p.startAll(ctx, slots, func(i int) starter { return r.starter(i) })
	r.closeAfter(outs)
	return outs, err
}

// Join waits for commands to end; nil means the commands of the last RunCommand, and if that
// contacted no host, Join returns its error. Standard
// input left open is closed. Output need not be read. The error is nil if all ended
// with exit code zero, and a [*HostsError] otherwise. If ctx ends first, the error
// tells who has not finished, see [HostsError.Unfinished]; the commands run on, and
// Join may be called again.
func (p *ParallelClient) Join(ctx context.Context, outs []*HostOutput) error {
	if outs == nil {
		p.mu.Lock()
		var err error
		outs, err = p.last, p.lastErr
		p.mu.Unlock()
		if err != nil {
			return err
		}
	}
	for _, out := range outs {
		if out.Channel.input != nil {
			out.Channel.input.finish()
		}
	}
	errs := make([]error, len(outs))
	for i, out := range outs {
		errs[i] = out.WaitFinished(ctx)
	}
	return hostsError(len(outs), func(i int) (*HostConfig, error) { return &outs[i].Host, errs[i] })
}

// Finished reports whether all commands have ended, without waiting; nil means
// the commands of the last RunCommand.
func (p *ParallelClient) Finished(outs []*HostOutput) bool {
	if outs == nil {
		outs = p.LastOutput()
	}
	for _, out := range outs {
		if !out.Finished() {
			return false
		}
	}
	return true
}

// LastOutput returns the outputs of the last RunCommand, nil before the first and after
// one that contacted no host.
func (p *ParallelClient) LastOutput() []*HostOutput {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.last
}

// starter starts something on a host.
type starter struct {
	start func(*Client, context.Context) *HostOutput
	line  func() string // what would have been sent to a host that is not reached; nil: nothing
}

// starter starts the command on host number i.
func (r *run) starter(i int) starter {
	return starter{
		start: func(c *Client, ctx context.Context) *HostOutput { return c.start(ctx, r, i) },
		line: func() string {
			line, _, err := r.line(i)
			if err != nil {
				return "" // nothing can be sent
			}
			return line
		},
	}
}

// startAll starts something on every host, and returns what has become of it.
func (p *ParallelClient) startAll(ctx context.Context, slots []*slot, by func(i int) starter) ([]*HostOutput, error) {
	outs := make([]*HostOutput, len(slots))
	err := p.each(ctx, slots, func(i int, s *slot) error {
		outs[i] = p.start(ctx, s, i, by(i))
		if p.OneShot {
			s.retireCurrent()
		}
		return outs[i].Err
	}, func(i int, s *slot, why error) { outs[i] = newFailed(i, s.host, "", why) })
	return outs, err
}

// start starts something on host number i.
func (p *ParallelClient) start(ctx context.Context, s *slot, i int, by starter) *HostOutput {
	defer s.work.begin(PhaseConnect)()
	var out *HostOutput
	link, err := s.use(ctx, p.connectTo(s), func(c *Client) error {
		if p.BeforeStart != nil {
			p.BeforeStart(i)
		}
		s.work.enter(PhaseStart)
		out = by.start(c, ctx)
		out.Index = i
		return out.Err
	})
	if link.client != nil {
		return out
	}
	line := ""
	if by.line != nil {
		line = by.line()
	}
	out = newFailed(i, s.host, line, err)
	out.connected = link.timing
	return out
}

// timedOut reports whether a host has left a request unanswered.
func timedOut(err error) bool {
	_, ok := err.(*TimeoutError)
	return ok
}
