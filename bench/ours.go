//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"strconv"
	"time"

	"fleetssh"
)

// ourClient is fleetssh, used as job.Client says:
//
//	stream  Stream with OneShot, like the command
//	run     RunCommand and Join, on all hosts at once
//	copy    a Client for each host, RunCommand, and io.Copy of the output
type ourClient struct {
	j *job
	p *fleetssh.ParallelClient
}

// runOurs runs j.
func runOurs(ctx context.Context, j *job, r *report) error {
	base := fleetssh.HostConfig{
		Port: j.Port, User: j.User,
		Auth: fleetssh.Auth{KeyFile: j.KeyFile},
	}
	p := beginPhase() // includes reading known_hosts
	var err error
	known := &fleetssh.KnownHosts{Files: []string{j.KnownHosts}}
	if err := known.Load(); err != nil {
		return err
	}
	base.HostKeys = known
	if j.Hop != "" {
		hop := base
		hop.Host = j.Hop
		base.Proxy = &hop // one value for all hosts, so that they share its connection
	}
	o := &ourClient{j: j, p: &fleetssh.ParallelClient{Hosts: fleetssh.Hosts(base, j.Hosts...), PoolSize: j.Pool}}
	defer o.p.Close()
	switch j.Task + " " + j.Client {
	case "hosts stream":
		err = o.stream(ctx, r)
	case "hosts run":
		err = o.run(ctx, r)
	case "hosts copy":
		o.p.OneShot = true
		o.each(ctx, r, o.runOn)
	case "upload copy":
		err = o.upload(ctx, r)
	case "idle run":
		return o.idle(ctx, r)
	case "commands copy", "commands run":
		return o.commands(ctx, r)
	default:
		return fmt.Errorf("%s has no task %q", j.Client, j.Task)
	}
	p.end(r)
	return err
}

// upload copies a file to every host.
func (o *ourClient) upload(ctx context.Context, r *report) error {
	opts := &fleetssh.CopyOptions{HostArgs: make([]fleetssh.Args, len(o.j.Hosts))}
	for i := range opts.HostArgs {
		opts.HostArgs[i].Map = map[string]string{"i": strconv.Itoa(i)}
	}
	results, err := o.p.Upload(ctx, o.j.Line, o.j.Dest+"/%(i)s", opts)
	for i := range results {
		r.add(results[i].Bytes, results[i].Err)
	}
	if results == nil {
		return err
	}
	return nil // r.Note has the first error
}

// stream runs the command once on every host, each over a fresh connection.
func (o *ourClient) stream(ctx context.Context, r *report) error {
	o.p.OneShot = true
	events, err := o.p.Stream(ctx, fleetssh.Command{Line: o.j.Line})
	if err != nil {
		return err
	}
	for ev := range events {
		switch ev.Kind {
		case fleetssh.StdoutLine:
			r.Bytes += int64(len(ev.Text)) + 1
		case fleetssh.Finished:
			r.add(0, ev.Output.WaitFinished(ctx))
		}
	}
	return nil
}

// run does the same with RunCommand and Join.
func (o *ourClient) run(ctx context.Context, r *report) error {
	o.p.OneShot = true
	outs, err := o.p.RunCommand(ctx, fleetssh.Command{Line: o.j.Line})
	if err != nil {
		return err
	}
	if err := o.p.Join(ctx, outs); err != nil {
		r.Note = err.Error()
	}
	for _, out := range outs {
		if code, ok := out.ExitCode(); ok && code == 0 {
			r.OK++
		}
	}
	return o.p.Close()
}

// runOn runs the command, and discards its output with io.Copy.
func (o *ourClient) runOn(ctx context.Context, c *fleetssh.Client) (int64, error) {
	out, err := c.RunCommand(ctx, fleetssh.Command{Line: o.j.Line})
	if err != nil {
		return 0, err
	}
	var n counter
	if _, err := io.Copy(&n, out.Stdout); err != nil {
		return n.n, err
	}
	return n.n, out.WaitFinished(ctx)
}

// each works on all hosts with a [fleetssh.Client] each, PoolSize of them at a time.
func (o *ourClient) each(ctx context.Context, r *report, work func(ctx context.Context, c *fleetssh.Client) (int64, error)) {
	counts := make([]int64, len(o.j.Hosts))
	errs := make([]error, len(o.j.Hosts))
	err := o.p.Do(ctx, func(ctx context.Context, i int, c *fleetssh.Client) (err error) {
		counts[i], err = work(ctx, c)
		return err
	})
	if of, ok := errors.AsType[*fleetssh.HostsError](err); ok {
		for _, f := range of.Failed {
			errs[f.Index] = f.Err
		}
	}
	for i, n := range counts {
		r.add(n, errs[i])
	}
}

// connectAll connects to every host and runs the command once.
func (o *ourClient) connectAll(ctx context.Context) error {
	outs, err := o.p.RunCommand(ctx, fleetssh.Command{Line: o.j.Line})
	if err == nil {
		err = o.p.Join(ctx, outs)
	}
	return err
}

// idle holds connections that carry nothing but keep-alives.
func (o *ourClient) idle(ctx context.Context, r *report) error {
	before := status("VmRSS")
	if err := o.connectAll(ctx); err != nil {
		return err
	}
	r.OK = len(o.j.Hosts)
	hold(o.j, r, before)
	return nil
}

// commands runs commands on open connections, one after another on each: with
// RunCommand on all of them, or with a [fleetssh.Client] each.
func (o *ourClient) commands(ctx context.Context, r *report) error {
	if err := o.connectAll(ctx); err != nil {
		return err
	}
	p := beginPhase()
	if o.j.Client == "run" {
		for range o.j.Repeat {
			if err := o.connectAll(ctx); err != nil {
				return err
			}
		}
		r.OK = len(o.j.Hosts)
	} else {
		o.each(ctx, r, func(ctx context.Context, c *fleetssh.Client) (n int64, err error) {
			for k := 0; k < o.j.Repeat && err == nil; k++ {
				_, err = o.runOn(ctx, c)
			}
			return 0, err
		})
	}
	p.end(r)
	return nil
}

// settleTime is how long connections rest before they are measured.
const settleTime = time.Second

// hold keeps the connections of this process open and measures what they cost.
func hold(j *job, r *report, before int64) {
	time.Sleep(settleTime)
	debug.FreeOSMemory() // returns what only connecting needed
	r.RSS = (status("VmRSS") - before) / int64(len(j.Hosts))
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	r.Stack, r.Heap = int64(m.StackInuse)/int64(len(j.Hosts)), int64(m.HeapAlloc)/int64(len(j.Hosts))
	p := beginPhase()
	time.Sleep(j.Hold)
	r.Idle = p.cores()
	if j.MemProfile != "" {
		if err := writeMemProfile(j.MemProfile); err != nil {
			r.Note = err.Error()
		}
		j.MemProfile = ""
	}
}
