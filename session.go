package fleetssh

import (
	"errors"
	"io"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"

	"fleetssh/internal/conn"
	"fleetssh/internal/password"
	"fleetssh/internal/sanitize"
	"fleetssh/internal/sudo"
)

// session is the [execution] of a command, a shell or a subsystem in an SSH session of its own.
type session struct {
	Channel

	client *Client
	raw    *conn.Session
	input  *input
	cmd    *Command // noCommand if it was started with Exec, Shell or Subsystem

	sentinels *sudo.Sentinels // around sudo's messages; nil: no sudo
	console   *Console        // the console whose shell runs in the session; nil: none
	stopper   bool            // the session stops the command of another session

	silent   atomic.Bool   // the host has not answered the request to stop the command
	answered atomic.Bool   // the host has answered the request to start the command
	wake     chan struct{} // wakes waitStart; nil: output is not read yet

	// Channel.mu protects what follows.
	state    sessionState
	broken   error          // why the input is broken
	held     *holding       // not nil: the call that stops the command ends the session
	whole    bool           // all processes of the command are known to have ended
	refused  sudo.Refusal   // sudo's reason for not running the command
	streams  int            // streams that have not ended
	closed   bool           // the server has closed the channel, or the connection is gone
	watched  bool           // watch has been called
	wrote    bool           // output has arrived before the answer
	timer    *time.Timer    // Command.Timeout
	timed    time.Time      // since when timer runs
	left     time.Duration  // the rest of limit while the timer is paused
	holds    int            // how many calls pause the timer
	turn     *password.Turn // the turn to try the sudo password; nil: none
	size     []byte         // the size of the terminal that is to be sent
	resizing bool           // a goroutine sends sizes
}

// noCommand has no settings. It never changes.
var noCommand Command

type sessionState int

const (
	fresh    sessionState = iota
	starting              // the request is on its way
	started
	dead // the session was closed before it was started
)

// copy stores one stream until it ends.
func (s *session) copy(to *Output, from io.Reader, filter *sudo.Filter) {
	switch {
	case filter != nil:
		s.copyFiltered(to, from, filter)
	case s.console != nil:
		s.console.copy(to, from)
	default:
		to.stream.ReadFrom(from)
	}
	to.stream.CloseWrite(nil)
	s.mu.Lock()
	s.streams--
	s.unlockAndEnd()
}

// unlockAndEnd ends the session if both streams and the status of the command have arrived. A
// server may send the status before the last output, or long after it. The caller holds s.mu, and
// unlockAndEnd unlocks it.
func (s *session) unlockAndEnd() {
	ended, served, exit := s.closed || s.exit.Kind != Running, s.streams == 0, s.exit
	over := s.state == started && ended && served && s.held == nil
	if s.held != nil {
		s.held.record(ended, served)
	}
	s.wakeStart()
	s.mu.Unlock()
	if !over {
		return
	}
	if exit.Kind == Running {
		exit.Kind = Lost
	}
	s.end(exit, nil)
}

// watch reads the server's requests, which report how the command ended (RFC 4254, section 6.10),
// until the channel is closed. Only the first call reads: one reader has recorded a status before
// it records that the channel is closed.
func (s *session) watch() {
	s.mu.Lock()
	again := s.watched
	s.watched = true
	s.mu.Unlock()
	if again {
		return
	}
	for req := range s.raw.Requests {
		if o, ok := exitOf(req); ok {
			s.exited(o)
		}
		req.Reply(false, nil)
	}
	s.raw.Requests = nil
	s.mu.Lock()
	s.closed = true
	s.unlockAndEnd()
}

// exitOf returns the end of a command that a request reports (RFC 4254, section 6.10).
func exitOf(req *ssh.Request) (o Outcome, ok bool) {
	switch req.Type {
	case "exit-status":
		var status struct{ Code uint32 }
		if ssh.Unmarshal(req.Payload, &status) == nil {
			return Outcome{Kind: Exited, ExitCode: int(status.Code)}, true
		}
	case "exit-signal":
		var status struct {
			Signal     string
			CoreDumped bool
			Message    string
			Lang       string
		}
		if ssh.Unmarshal(req.Payload, &status) == nil {
			return Outcome{Kind: Signaled, Signal: sanitize.Line(status.Signal)}, true
		}
	}
	return o, false
}

// exited records the status that the server has sent.
func (s *session) exited(o Outcome) {
	s.mu.Lock()
	first := s.exit.Kind == Running
	if first {
		s.exit = o
	}
	s.unlockAndEnd()
	if first {
		s.client.conn.RemoveProgram()
	}
}

// end records the outcome and releases the channel. Only the first call has an effect.
func (s *session) end(o Outcome, failure error) {
	s.mu.Lock()
	if s.outcome.Kind != Running {
		s.mu.Unlock()
		return
	}
	switch {
	case s.stopping != Running:
		o = Outcome{Kind: s.stopping, Stopped: s.whole && s.exit.Kind != Running && s.streams == 0}
		if s.stopping == Lost {
			o, failure = Outcome{Kind: Lost}, s.broken
		}
	case o.Kind == Lost && s.exit.Kind != Running:
		// The command has ended, but another process may hold its output open.
		o, failure = s.exit, nil
	}
	if o.Kind == Exited && s.failure == nil && s.streams == 0 {
		if why := sudoRefusal(s.refused, o.ExitCode); why != nil {
			s.failure = s.sudoError(why)
		}
	}
	if s.failure != nil {
		o, failure = Outcome{Kind: NotStarted, Phase: phaseOf(s.failure)}, s.failure
	}
	if o.Kind == Lost && failure == nil {
		failure = s.lost()
	}
	s.outcome, s.failure = o, failure
	s.runDuration = time.Since(s.begun)
	timer, closed, turn, said := s.timer, s.closed, s.turn, s.refused
	s.mu.Unlock()
	if timer != nil {
		timer.Stop()
	}
	s.leaveTurn(turn, said)
	s.client.conn.Leave() // before done is closed: the caller may close the connection next
	close(s.done)
	s.Stdout.stream.CloseWrite(nil)
	s.Stderr.stream.CloseWrite(nil)
	if s.console != nil {
		s.console.shellEnded()
	}
	raw := s.raw.Release()
	if raw != nil && !closed { // the host must know that nobody reads on
		s.client.conn.CloseSoon(raw)
	}
}

// lost returns the error for a command whose end is unknown.
func (s *session) lost() error {
	c := s.client
	why := error(errors.New("the host closed the session without saying how the command ended"))
	if c.conn.Failed() {
		why = c.conn.LostError(io.EOF)
	}
	return &ConnectionError{Host: c.host.name(), Port: c.host.port(), Phase: PhaseRun, Err: why}
}

func (s *session) resize(rows, cols int) error {
	if s.Finished() {
		return conn.ErrClosed
	}
	s.mu.Lock()
	sending := s.resizing
	s.resizing = true
	s.size = ssh.Marshal(struct {
		Cols, Rows, Width, Height uint32
	}{uint32(cols), uint32(rows), 0, 0})
	s.mu.Unlock()
	if !sending && !s.client.conn.Go(s.sendSizes) {
		return conn.ErrClosed
	}
	return nil
}

// sendSizes sends the size of the terminal until there is no newer one.
func (s *session) sendSizes() {
	for {
		s.mu.Lock()
		size := s.size
		s.size, s.resizing = nil, size != nil
		s.mu.Unlock()
		if size == nil {
			return
		}
		_, _ = s.raw.SendRequest("window-change", false, size) // or the command has ended
	}
}

func (s *session) close() error {
	s.mu.Lock()
	state := s.state
	if state == fresh {
		s.state = dead // no other call abandons it
	}
	s.mu.Unlock()
	switch state {
	case starting:
		s.client.conn.CloseSoon(s.raw) // ends the request, and start with it
	case started:
		s.end(Outcome{Kind: Lost}, &ConnectionError{
			Host: s.client.host.name(), Port: s.client.host.port(), Phase: PhaseRun, Err: &conn.Error{Text: "the channel is closed", Err: conn.ErrClosed},
		})
	case fresh:
		s.abandon(fresh, conn.ErrClosed)
	}
	return nil
}

// abandon releases a session in which nothing was started. was is the state before.
func (s *session) abandon(was sessionState, why error) {
	s.mu.Lock()
	s.state = dead
	s.outcome, s.failure = OutcomeOf(why), why
	s.mu.Unlock()
	s.client.conn.SetUsed(s.raw)
	if was == fresh { // no goroutine reads it
		s.client.conn.Discard(s.raw, s.raw.Requests)
	} else if raw := s.raw.Release(); raw != nil {
		s.client.conn.CloseSoon(raw)
	}
	s.client.conn.Leave()
	close(s.done)
	s.Stdout.stream.CloseWrite(nil)
	s.Stderr.stream.CloseWrite(nil)
}

func (s *session) closeInput() { s.input.finish() }
