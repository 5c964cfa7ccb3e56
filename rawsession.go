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

// rawSession is a session with a program that this package talks to: an SFTP server, or scp.
// Unlike a [Channel] it buffers no output: the reader sets the pace of the host.
type rawSession struct {
	client  *Client
	channel ssh.Channel
	out     *conn.Stream
	ended   chan struct{} // closed when the host has closed the channel and all its messages are handled
	free    func()        // stops counting the session as a user of the connection

	mu     sync.Mutex // protects what follows
	exit   Outcome    // Kind is Running until the host has reported the end
	stderr tail
	closed bool
}

// openRawSession opens a session and starts a program by a request such as "exec" or
// "subsystem".
func (c *Client) openRawSession(ctx context.Context, request string, payload []byte) (transfer.Stream, error) {
	ctx, cancel := c.starting(ctx)
	defer cancel()
	p := &rawSession{client: c, ended: make(chan struct{})}
	c.conn.Enter()
	var requests <-chan *ssh.Request
	var err error
	for again := true; again; {
		p.channel, requests, err = c.conn.Open(ctx, "session", nil)
		again = c.raw.lingers(ctx, err)
	}
	if err != nil {
		c.conn.Leave()
		return nil, c.sessionError(ctx, PhaseOpen, err)
	}
	c.raw.opened()
	free := sync.OnceFunc(func() {
		c.raw.ended()
		c.conn.Leave()
	})
	p.free = free
	p.out = c.conn.Stream(p.channel)
	errOut := c.conn.Stream(p.channel.Stderr())
	ok := c.conn.Go(func() {
		defer close(p.ended)
		var reading sync.WaitGroup
		reading.Go(func() {
			_, _ = io.Copy((*rawStderr)(p), errOut)
			errOut.End()
		})
		for req := range requests {
			p.record(req)
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

// ask starts the program. If the host has reported the end of the program, it has started it,
// even without an answer to the request. ask must run on a goroutine of the client.
func (p *rawSession) ask(request string, payload []byte) error {
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

// rawSessions counts the raw sessions of a client. A host frees a session when its program has
// ended, which may be after this side has closed the channel. A host that allows a single
// session (MaxSessions) refuses the next one until then.
type rawSessions struct {
	mu   sync.Mutex // protects what follows
	open int
	last time.Time // when the last one was closed
}

const (
	lingerLimit = 10 * time.Second // a busy host needs time to free a session
	lingerRetry = 20 * time.Millisecond
)

func (p *rawSessions) opened() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open++
}

func (p *rawSessions) ended() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open--
	p.last = time.Now()
}

// lingers waits for a moment if the host may have refused a session because an earlier one is
// not free yet. It reports whether to try again.
func (p *rawSessions) lingers(ctx context.Context, err error) bool {
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

// record records the end of the program that the host reports.
func (p *rawSession) record(req *ssh.Request) {
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

// rawStderr keeps the end of the program's standard error.
type rawStderr rawSession

func (p *rawStderr) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stderr.Write(b)
}

// Read implements [io.Reader].
func (p *rawSession) Read(b []byte) (int, error) { return p.out.Read(b) }

// Write implements [io.Writer].
func (p *rawSession) Write(b []byte) (int, error) { return p.channel.Write(b) }

// CloseWrite implements [transfer.Stream].
func (p *rawSession) CloseWrite() error { return p.channel.CloseWrite() }

// Close implements [io.Closer]. It does not wait for the host. The SSH library ends blocked
// reads and writes when the host confirms the end of the channel. If the host does not confirm
// it, the connection is useless and is closed.
func (p *rawSession) Close() error {
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
func (p *rawSession) Wait() error {
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
