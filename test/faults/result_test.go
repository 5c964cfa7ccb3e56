package faults

import (
	"context"
	"io"
	"net"
	"strings"
	"time"

	"fleetssh"
)

// pause gives writes the time to block.
func pause() { <-time.After(300 * time.Millisecond) }

// exited checks that the good host has run its command, with the output want.
func (c *cell) exited(out *fleetssh.HostOutput, want string) {
	if out == nil {
		c.gets(false, "the command did not start")
		return
	}
	c.ended(out.Stdout, out.Outcome(), out.Err, want)
}

// ended checks that a command or a shell of the good host has ended well, with the output want.
func (c *cell) ended(stdout io.Reader, o fleetssh.Outcome, why error, want string) {
	got, err := io.ReadAll(stdout)
	c.gets(o.OK() && string(got) == want && err == nil, "%v, %q, %v, %v", o, got, err, why)
}

// failed checks that the bad host's command has ended without an exit status.
func (c *cell) failed(out *fleetssh.HostOutput) {
	kind := out.Outcome().Kind
	if c.fault.Bytes > 0 && kind == fleetssh.Exited {
		return // the host read enough for the command
	}
	c.wants(kind != fleetssh.Exited && kind != fleetssh.Running, "the bad host: %v", kind)
}

// stream runs a command on all hosts until the context of the cell ends.
func (c *cell) stream(p *fleetssh.ParallelClient, cmd fleetssh.Command, want string) {
	c.ends("Stream", func(ctx context.Context) { c.events(ctx, p, cmd, want) })
}

func (c *cell) events(ctx context.Context, p *fleetssh.ParallelClient, cmd fleetssh.Command, want string) {
	events, err := p.Stream(ctx, cmd)
	if err != nil {
		c.t.Errorf("%s: %v", c.name, err)
		return
	}
	var good strings.Builder
	finished := make([]*fleetssh.HostOutput, len(p.Hosts))
	for ev := range events {
		switch {
		case ev.Kind == fleetssh.Finished:
			c.wants(finished[ev.Index] == nil, "host %d has finished twice", ev.Index)
			finished[ev.Index] = ev.Output
		case ev.Kind == fleetssh.StdoutLine && ev.Index == 1:
			good.WriteString(ev.Text)
		}
	}
	for i, out := range finished {
		if out == nil {
			c.wants(false, "host %d has not finished", i)
			return
		}
	}
	o := finished[1].Outcome()
	c.gets(o.Kind == fleetssh.Exited && o.ExitCode == 0 && good.String() == strings.TrimSuffix(want, "\n"), "%v, %q, %v", o, good.String(), finished[1].Err)
	c.failed(finished[0])
}

// copied checks that a copy has failed on the bad host and succeeded on the good one.
func (c *cell) copied(results []fleetssh.CopyResult) {
	c.wants(results[0].Err != nil || c.fault.Bytes > 0, "the bad host was copied to")
	c.gets(results[1].Err == nil, "%v", results[1].Err)
}

// connect connects to a tunnel and sends hello.
func (c *cell) connect(tunnel *fleetssh.Tunnel, hello string) net.Conn {
	conn, err := net.Dial("tcp", tunnel.Addr().String())
	if err != nil { // the tunnel has ended with its SSH connection
		conn, far := net.Pipe()
		far.Close()
		return conn
	}
	_ = conn.SetDeadline(time.Now().Add(c.limit))
	_, _ = io.WriteString(conn, hello)
	return conn
}

// call connects to a tunnel, sends until writes block, and closes the tunnel.
func (c *cell) call(tunnel *fleetssh.Tunnel, hello string) {
	conn := c.connect(tunnel, hello)
	defer conn.Close()
	_, _ = io.Copy(conn, zeros())
	c.closes("Tunnel.Close", tunnel.Close)
}

// channel starts a command on the bad host, sends input until writes block, and calls f.
func (c *cell) channel(f func(*fleetssh.Channel)) {
	c.dial(func(client *fleetssh.Client) {
		var ch *fleetssh.Channel
		c.ends("Execute", func(ctx context.Context) { ch, _ = client.Execute(ctx, "cat") })
		if ch == nil {
			return
		}
		stuck := make(chan struct{})
		go func() {
			defer close(stuck)
			_, _ = io.Copy(ch.Stdin, zeros())
		}()
		pause()
		f(ch)
		c.within(callGrace, "Write", func() { <-stuck })
	})
}
