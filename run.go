package fleetssh

import "context"

// Run runs cmd on every host until it ends, on PoolSize hosts at a time. It returns the outcome and
// the output of each host. Output that exceeds OutputMemory is on disk until it is read. With
// OpenStdin, standard input is empty.
//
// When ctx ends, Run stops the running commands as [HostOutput.Stop] does, and skips the hosts that
// have not begun.
//
// The slice has one entry for each host, in the order of Hosts. The error is nil if every command
// exited with code zero, and otherwise a [*HostsError] with the error of [HostOutput.WaitFinished]
// for each host that did not. If it is a [*HostArgumentError] or a [*ConfigError], the slice is nil
// and no host was contacted.
//
// Use [ParallelClient.Stream] to see output as it arrives, and RunCommand to leave commands running.
func (p *ParallelClient) Run(ctx context.Context, cmd Command) ([]*HostOutput, error) {
	slots, r, err := p.prepare(cmd)
	if err != nil {
		return nil, err
	}
	r.readInput()
	outs := make([]*HostOutput, len(slots))
	err = p.each(ctx, slots, func(ctx context.Context, i int, s *slot) error {
		outs[i] = p.runToEnd(ctx, s, i, r)
		return outs[i].Channel.result()
	}, func(i int, s *slot, why error) { outs[i] = newFailed(i, &s.host, "", why) })
	r.closeAfter(outs)
	return outs, err
}

// prepare checks the hosts, and the command for them.
func (p *ParallelClient) prepare(cmd Command) ([]*slot, *run, error) {
	slots, err := p.begin(0)
	if err != nil {
		return nil, nil, err
	}
	r, err := cmd.prepare(len(slots), p.d)
	return slots, r, err
}

// runToEnd runs the command on host number i until it ends.
func (p *ParallelClient) runToEnd(ctx context.Context, s *slot, i int, r *run) *HostOutput {
	defer s.work.begin(PhaseConnect)()
	out, c := p.start(ctx, s, i, r.starter(i))
	if out.Err != nil {
		return out
	}
	s.work.enter(PhaseRun)
	out.Channel.execution.closeInput()
	select {
	case <-out.Channel.done:
	case <-ctx.Done():
		_ = out.Stop(context.WithoutCancel(ctx)) // the outcome says whether the end is confirmed
	}
	p.retireAfter(s, c, out)
	return out
}

// retireAfter retires the connection after a command if it must not be used again: always with
// OneShot, and if the host has not confirmed the end of a command that was stopped.
func (p *ParallelClient) retireAfter(s *slot, c *Client, out *HostOutput) {
	o := out.Outcome()
	stopped := o.Kind == TimedOut || o.Kind == Cancelled
	if p.OneShot || stopped && !o.Stopped || c.conn.IsDone() {
		s.retire(c)
	}
}

// RunCommand starts cmd on every host and returns when each host has either accepted it or failed.
// The commands continue to run, even if ctx ends after RunCommand has returned. Join waits for them.
//
// The slice has one entry for each host, in the order of Hosts. The error is nil if the command
// started on every host, and otherwise a [*HostsError]. If it is a [*HostArgumentError] or a
// [*ConfigError], the slice is nil and no host was contacted.
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
	slots, r, err := p.prepare(cmd)
	if err != nil {
		return nil, err
	}
	// The input is read before the first start, because Command.Timeout of the first hosts runs
	// while others are still connecting.
	r.readInput()
	outs, err := p.startAll(ctx, slots, func(i int) starter { return r.starter(i) })
	r.closeAfter(outs)
	return outs, err
}

// Join waits until the commands have ended. If outs is nil, it waits for the commands of the last
// RunCommand; if that contacted no host, Join returns its error. Join closes standard input that
// is still open. The output need not be read.
//
// The error is nil if all commands ended with exit code zero, and otherwise a [*HostsError]. If ctx
// ends first, [HostsError.Unfinished] names the hosts that have not finished. Their commands
// continue to run, and Join may be called again.
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
		out.Channel.execution.closeInput()
	}
	errs := make([]error, len(outs))
	for i, out := range outs {
		errs[i] = out.WaitFinished(ctx)
	}
	return hostsError(len(outs), func(i int) (*HostConfig, error) { return &outs[i].Host, errs[i] })
}

// Finished reports, without waiting, whether all commands have ended. If outs is nil, it reports on
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

// LastOutput returns the outputs of the last RunCommand. It returns nil before the first RunCommand
// and after one that contacted no host.
func (p *ParallelClient) LastOutput() []*HostOutput {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.last
}

// starter starts a command or a console on a host.
type starter struct {
	start func(*Client, context.Context) *HostOutput
	line  func() string // the command line for the record of a host that is not reached; may be nil
}

// starter starts the command on host number i.
func (r *run) starter(i int) starter {
	return starter{
		start: func(c *Client, ctx context.Context) *HostOutput { return c.start(ctx, r, i) },
		line: func() string {
			line, _, err := r.line(i)
			if err != nil {
				return "" // there is no line to send
			}
			return line
		},
	}
}

// startAll starts a command or a console on every host and returns the outputs.
func (p *ParallelClient) startAll(ctx context.Context, slots []*slot, by func(i int) starter) ([]*HostOutput, error) {
	outs := make([]*HostOutput, len(slots))
	err := p.each(ctx, slots, func(ctx context.Context, i int, s *slot) error {
		outs[i], _ = p.start(ctx, s, i, by(i))
		if p.OneShot {
			s.retireCurrent()
		}
		return outs[i].Err
	}, func(i int, s *slot, why error) { outs[i] = newFailed(i, &s.host, "", why) })
	return outs, err
}

// start starts a command or a console on host number i. The client is nil if the host was not reached.
func (p *ParallelClient) start(ctx context.Context, s *slot, i int, by starter) (*HostOutput, *Client) {
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
		return out, link.client
	}
	line := ""
	if by.line != nil {
		line = by.line()
	}
	out = newFailed(i, &s.host, line, err)
	out.connected = link.timing
	return out, nil
}

// timedOut reports whether a host has left a request unanswered.
func timedOut(err error) bool {
	_, ok := err.(*TimeoutError)
	return ok
}
