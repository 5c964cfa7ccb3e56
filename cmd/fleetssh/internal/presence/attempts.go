package presence

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/selection"
	"fleetssh/internal/sanitize"
)

// commandLimit is how long a command of an attempt may run.
const commandLimit = 30 * time.Second

// maxOutput bounds the output of such a command, in bytes.
const maxOutput = 16 << 10

// OneLogin makes each login of hosts a single attempt, since Watch decides when to try again. It takes
// at most 15 seconds, unless the host has a limit of its own. An OpenSSH master is not used: its
// connection says nothing about who could log in now.
func OneLogin(hosts []selection.Host) {
	const limit = 15 * time.Second
	for i := range hosts {
		c := &hosts[i].Config
		c.Attempts, c.RetryDelay, c.ControlPath = 1, 0, ""
		c.ConnectTimeout = cmp.Or(c.ConnectTimeout, limit)
	}
}

// login logs in to a host, once. The caller closes the client: the next attempt must be a new login.
func (w *Watch) login(ctx context.Context, i int) (*fleetssh.Client, error) {
	c, err := w.Client.Client(ctx, i)
	if err != nil && errors.Is(ctx.Err(), context.Canceled) {
		return nil, ctx.Err()
	}
	return c, err
}

// Answers is an [Attempt]: the host answers a login.
func (w *Watch) Answers(ctx context.Context, i int) error {
	c, err := w.login(ctx, i)
	if err != nil {
		return err
	}
	return closing(c, nil)
}

// closing closes a client and returns err.
func closing(c *fleetssh.Client, err error) error {
	c.Close() // the host notices the end of the connection in any case
	return err
}

// Succeeds returns an [Attempt]: a command exits 0. It is stopped after 30 seconds.
func (w *Watch) Succeeds(command fleetssh.Command) Attempt {
	command.Timeout, command.MaxOutput = commandLimit, maxOutput
	return func(ctx context.Context, i int) error {
		c, err := w.login(ctx, i)
		if err != nil {
			return err
		}
		o := runOn(ctx, c, command)
		if o.OK() {
			return closing(c, nil)
		}
		if _, refused := errors.AsType[*fleetssh.SessionError](o.err); refused && o.Phase == fleetssh.PhaseSudo {
			return closing(c, o.err)
		}
		return closing(c, &NotYet{Reason: o.text()})
	}
}

// ended is how a command on a host ended.
type ended struct {
	fleetssh.Outcome
	err            error
	stdout, stderr string // their beginnings
}

// text returns how the command ended, with the last line of its standard error.
func (e *ended) text() string {
	text := e.Outcome.String()
	lines := strings.Split(strings.TrimSpace(e.stderr), "\n")
	if last := sanitize.Line(lines[len(lines)-1]); last != "" {
		text += ": " + last
	}
	return text
}

// runOn runs a command and reads its output, which MaxOutput bounds.
func runOn(ctx context.Context, c *fleetssh.Client, command fleetssh.Command) ended {
	out, err := c.RunCommand(ctx, command)
	if err != nil {
		return ended{Outcome: fleetssh.OutcomeOf(err), err: err}
	}
	defer out.Close()
	defer context.AfterFunc(ctx, func() { out.Close() })() // ends the output, which is read below
	read := func(from *fleetssh.Output) string {
		text := new(strings.Builder)
		_, _ = bufio.NewReader(from).WriteTo(text) // what is missing is cut off
		return text.String()
	}
	errText := make(chan string, 1)
	go func() { errText <- read(out.Stderr) }()
	e := ended{stdout: read(out.Stdout), stderr: <-errText}
	e.err = out.WaitFinished(ctx)
	e.Outcome = out.Outcome()
	return e
}

// Gone returns an [Attempt]: the host does not answer, twice in a row, since a single failure may be a
// busy server. A host that refuses the login answers.
func (w *Watch) Gone() Attempt {
	missed := make([]int, len(w.Client.Hosts)) // each element has one user at a time
	return func(ctx context.Context, i int) error {
		c, err := w.login(ctx, i)
		switch {
		case err == nil:
			missed[i] = 0
			return closing(c, &NotYet{Reason: "it still answers"})
		case ctx.Err() != nil:
			return err
		case !isAway(err):
			missed[i] = 0
			return &NotYet{Reason: fmt.Sprintf("it still answers: %v", err), Err: err}
		}
		if missed[i]++; missed[i] == 2 {
			return nil
		}
		return &NotYet{Reason: "it has not answered once", Err: err}
	}
}

// isAway reports whether an error of a login means that nobody answers.
func isAway(err error) bool {
	switch e := err.(type) {
	case *fleetssh.UnknownHostError:
		return true
	case *fleetssh.ConnectionError:
		return e.Said == "" && (e.Phase == fleetssh.PhaseConnect || e.Phase == fleetssh.PhaseHandshake)
	case *fleetssh.TimeoutError:
		return e.Phase == fleetssh.PhaseConnect || e.Phase == fleetssh.PhaseHandshake
	}
	return false
}
