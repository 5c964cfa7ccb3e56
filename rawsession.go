package fleetssh

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"fleetssh/internal/conn"
	"fleetssh/internal/sanitize"
	"fleetssh/internal/transfer"
)

// pipe is a program on the host that something here talks to: an SFTP server, scp. Unlike
// a [Channel] it keeps nothing: the host sends as fast as it is read.
type pipe struct {
	client  *Client
	channel ssh.Channel
	out     *conn.Stream
	ended   chan struct{} // closed when the host has closed the channel, and everything is known
	free    func()        // says that no more is wanted of the channel

	mu     sync.Mutex // protects what follows
	exit   Outcome    // Kind is Running until the host has said
	stderr tail
	closed bool
}

// openPipe starts a program: by a request such as "exec" or "subsystem".
func (c *Client) openPipe(ctx context.Context, request string, payload []byte) (transfer.Stream, error) {
	ctx, cancel := c.starting(ctx)
	defer cancel()
	p := &pipe{client: c, ended: make(chan struct{})}
	c.conn.Enter()
	var requests <-chan *ssh.Request
	var err error
	for again := true; again; {
		p.channel, requests, err = c.conn.Open(ctx, "session", nil)
		again = c.pipes.lingers(ctx, err)
	}
	if err != nil {
		c.conn.Leave()
		return nil, c.sessionError(ctx, PhaseOpen, err)
	}
	c.pipes.opened()
	free := sync.OnceFunc(func() {
		c.pipes.ended()
		c.conn.Leave()
	})
	p.free = free
	p.out = c.conn.Stream(p.channel)
	errOut := c.conn.Stream(p.channel.Stderr())
	ok := c.conn.Go(func() {
		defer close(p.ended)
		var reading sync.WaitGroup
		reading.Go(func() {
			_, _ = io.Copy((*pipeStderr)(p), errOut)
			errOut.End()
		})
		for req := range requests {
			p.note(req)
		}
		reading.Wait()
		free()
	})
	if !ok {
		free()
		c.conn.Discard(p.channel, requests)
		p.out.End()
		errOut.End()
		return nil, c.sessionError(ctx, PhaseOpen, conn.ErrClosed)
	}
	if err = c.conn.AddProgram(ctx); err == nil {
		err = c.conn.Call(ctx, conn.Call{Do: func() error { return p.ask(request, payload) }})
	}
	if err != nil {
		p.Close()
		return nil, c.sessionError(ctx, Phase(request), err)
	}
	return p, nil
}

// ask starts the program. A host that has said how it ended has started it, whether it has
// answered the request or not. The caller is a goroutine of the client.
func (p *pipe) ask(request string, payload []byte) error {
	answer := make(chan error, 1)
	p.client.conn.Fork(func() {
		yes, err := p.channel.SendRequest(request, true, payload)
		if err == nil && !yes {
			err = errRequestRefused
			p.client.conn.RemoveProgram()
		}
		answer <- err
	})
	select {
	case err := <-answer:
		if err == nil || errors.Is(err, errRequestRefused) {
			return err
		}
		<-p.ended // the channel has ended without an answer
	case <-p.ended:
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.exit.Kind == Running {
		return io.EOF
	}
	return nil
}

// pipes are those of a client. A host frees a session when its program has ended, which may
// be after the channel was closed here: one that allows no more than one (MaxSessions)
// refuses the next until then.
type pipes struct {
	mu   sync.Mutex // protects what follows
	open int
	last time.Time // when the last one was closed
}

const (
	lingerLimit = 10 * time.Second // a busy host takes its time
	lingerRetry = 20 * time.Millisecond
)

func (p *pipes) opened() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open++
}

func (p *pipes) ended() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open--
	p.last = time.Now()
}

// lingers reports, after a moment, whether err may be because of a pipe that was closed.
func (p *pipes) lingers(ctx context.Context, err error) bool {
	if _, refused := errors.AsType[*ssh.OpenChannelError](err); !refused {
		return false
	}
	p.mu.Lock()
	may := p.open == 0 && time.Since(p.last) < lingerLimit
	p.mu.Unlock()
	if !may {
		return false
	}
	timer := time.NewTimer(lingerRetry)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// note takes what the host says about the end of the program.
func (p *pipe) note(req *ssh.Request) {
	if o, ok := exitOf(req); ok {
		p.mu.Lock()
		first := p.exit.Kind == Running
		p.exit = o
		p.mu.Unlock()
		if first {
			p.client.conn.RemoveProgram()
		}
	}
	req.Reply(false, nil)
}

// pipeStderr keeps the end of what the program says of itself.
type pipeStderr pipe

func (p *pipeStderr) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stderr.Write(b)
}

// Read implements [io.Reader].
func (p *pipe) Read(b []byte) (int, error) { return p.out.Read(b) }

// Write implements [io.Writer].
func (p *pipe) Write(b []byte) (int, error) { return p.channel.Write(b) }

// CloseWrite implements [transfer.Stream].
func (p *pipe) CloseWrite() error { return p.channel.CloseWrite() }

// Close implements [io.Closer]. It does not wait for the host. The SSH library frees
// those who read or write when the host has confirmed the end. From one that does not,
// nothing good can come any more: its connection is closed.
func (p *pipe) Close() error {
	p.out.End()
	p.free()
	p.mu.Lock()
	first := !p.closed
	p.closed = true
	p.mu.Unlock()
	switch {
	case !first:
	case isClosed(p.ended): // the program has ended by itself
		p.client.conn.CloseSoon(p.channel)
	default:
		p.client.conn.EndSoon(func() {
			p.channel.Close()
			<-p.ended
		})
	}
	return nil
}

// Wait implements [transfer.Stream].
func (p *pipe) Wait() error {
	<-p.ended
	p.mu.Lock()
	defer p.mu.Unlock()
	var reason string
	switch {
	case p.exit.Kind == Exited && p.exit.ExitCode == 0:
		return nil
	case p.exit.Kind == Exited:
		reason = fmt.Sprintf("exit code %d", p.exit.ExitCode)
	case p.exit.Kind == Signaled:
		reason = "ended by signal " + p.exit.Signal
	case p.client.conn.Failed():
		return transfer.ErrLost
	default:
		reason = "ended without an exit code"
	}
	if said := strings.TrimSpace(string(p.stderr.kept)); said != "" {
		reason += ": " + sanitize.Line(said)
	}
	return errors.New(reason)
}
