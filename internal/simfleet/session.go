package simfleet

import (
	"context"
	"encoding/binary"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/crypto/ssh"
)

// Session is one command, shell or subsystem as the host sees it. The exported fields do not change
// while the handler runs.
type Session struct {
	Server *Server
	Conn   *ssh.ServerConn // for the remote address, the login, and channels from the host to the client
	User   string
	// Line is the command line of an "exec" request; "" for a shell or a subsystem.
	Line string
	// Interactive says that the client asked for a login shell.
	Interactive bool
	// Subsystem is the name of the subsystem; "" for a command or a shell.
	Subsystem string
	// PTY is the pseudo terminal; nil means none.
	PTY *PTY
	// Env are the variables that the client sent, as "NAME=value".
	Env []string
	// AgentForwarded says that the client offered its agent.
	AgentForwarded bool
	// PID is the process ID, which is unique among all sessions of the host.
	PID int

	// Stdin ends when the client ends its input, closes the channel, or closes the connection.
	Stdin io.Reader
	// Stdout and Stderr are the same writer if there is a PTY. Writes must not overlap then.
	Stdout, Stderr io.Writer

	conn    *conn
	channel ssh.Channel
	context context.Context
	cancel  context.CancelFunc
	size    atomic.Uint64 // columns and rows of the PTY, 32 bits each
	ended   atomic.Bool   // the end of the command is being or has been sent

	mu sync.Mutex
	// mu protects
	signals chan string
	ignored []string
}

// Status is how a command ends. The zero value is success.
type Status struct {
	Code   int
	Signal string // the signal that killed the command, without "SIG"; if it is not "", Code is ignored
	None   bool   // the channel is closed without a status
}

// PTY is a pseudo terminal as the client asked for it.
type PTY struct {
	Term          string
	Columns, Rows int // at the time of the request; see [Session.WindowSize]
	Modes         ssh.TerminalModes
}

// Done returns a channel that is closed when the SSH channel or the connection is gone, or when a
// signal has killed the command.
func (s *Session) Done() <-chan struct{} { return s.context.Done() }

// Context returns a context that is cancelled when [Session.Done] is closed.
func (s *Session) Context() context.Context { return s.context }

// Signals returns the channel on which signals arrive from now on, as "TERM". It buffers 16
// signals; more are lost. A signal kills the command if its handler has never called Signals. KILL
// always does.
func (s *Session) Signals() <-chan string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.signals == nil {
		s.signals = make(chan string, 16)
	}
	return s.signals
}

// WindowSize returns the current size of the PTY.
func (s *Session) WindowSize() (columns, rows int) {
	size := s.size.Load()
	return int(size >> 32), int(uint32(size))
}

// serveSession accepts a session channel, and runs what the client starts in it. It returns when
// the channel is gone and the handler has returned.
func (c *conn) serveSession(sc *ssh.ServerConn, offered ssh.NewChannel) {
	channel, requests, err := offered.Accept()
	if err != nil {
		return
	}
	c.server.stats.change(func(st *Stats) { st.Sessions++ })
	s := &Session{Server: c.server, Conn: sc, User: sc.User(), conn: c, channel: channel}
	s.context, s.cancel = context.WithCancel(context.Background())
	var handler sync.WaitGroup
	defer handler.Wait()
	defer s.cancel()
	started := false
	for request := range requests {
		switch request.Type {
		case "exec", "shell", "subsystem":
			if c.fault.Kind == StallExec || c.reached(PhaseExec) {
				continue
			}
			var run Handler
			if !started && c.fault.Kind != RefuseExec {
				run = s.prepare(request)
			}
			if run == nil {
				request.Reply(false, nil)
				continue
			}
			started = true
			s.PID = c.server.addProcess(s)
			dead := c.fault.Kind == StallAfterStart
			if dead {
				// Before the reply, because nothing that the client sends after it may be answered.
				c.deaf.Store(true)
			}
			if c.fault.Kind != NoStartReply {
				request.Reply(true, nil)
			}
			if dead {
				c.mute.Store(true)
			}
			if c.reached(PhaseRun) && c.fault.Bytes == 0 {
				dead = true // so the command does not run
			}
			if dead {
				c.server.removeProcess(s.PID)
				continue
			}
			handler.Go(func() {
				defer c.server.removeProcess(s.PID)
				s.finish(run(s))
			})
		case "signal":
			var signal struct{ Name string }
			ok := ssh.Unmarshal(request.Payload, &signal) == nil && started && !s.ended.Load() && knownSignal(signal.Name)
			if ok {
				c.server.stats.change(func(st *Stats) { record(&st.Signals, signal.Name) })
			}
			ok = ok && !c.server.host.RefuseSignals
			request.Reply(ok, nil)
			if ok && c.fault.Kind != IgnoreSignals {
				s.deliver(signal.Name)
			}
		default:
			request.Reply(!started && s.set(request) || request.Type == "window-change" && s.resize(request.Payload), nil)
		}
	}
}

// prepare fills in the fields that the request determines, and returns the handler. It returns nil
// if there is none.
func (s *Session) prepare(request *ssh.Request) Handler {
	var payload struct{ Text string }
	run := s.Server.host.Handler
	switch request.Type {
	case "shell":
		s.Interactive = true
	case "exec":
		if ssh.Unmarshal(request.Payload, &payload) != nil {
			return nil
		}
		s.Line = payload.Text
	case "subsystem":
		if ssh.Unmarshal(request.Payload, &payload) != nil {
			return nil
		}
		s.Subsystem = payload.Text
		run = s.subsystem()
	}
	if run == nil {
		return nil
	}
	s.Server.stats.change(func(st *Stats) {
		st.Started++
		if request.Type == "exec" {
			record(&st.Commands, s.Line)
		}
	})
	s.Stdin, s.Stdout, s.Stderr = s.streams()
	return run
}

// subsystem returns the handler of the session's subsystem, or nil.
func (s *Session) subsystem() Handler {
	if run, here := s.Server.host.Subsystems[s.Subsystem]; here {
		return run
	}
	if s.Subsystem == "sftp" && s.conn.fault.Kind != NoSFTP {
		return serveSFTP
	}
	return nil
}

// set handles a request that must come before the command starts, and reports whether it succeeded.
func (s *Session) set(request *ssh.Request) bool {
	switch request.Type {
	case "env":
		var variable struct{ Name, Value string }
		if s.conn.fault.Kind == RefuseEnv || ssh.Unmarshal(request.Payload, &variable) != nil {
			return false
		}
		text := variable.Name + "=" + variable.Value
		record(&s.Env, text)
		s.Server.stats.change(func(st *Stats) { record(&st.Env, text) })
		return true
	case "pty-req":
		var want struct {
			Term                         string
			Columns, Rows, Width, Height uint32
			Modes                        string
		}
		if s.conn.fault.Kind == RefusePTY || ssh.Unmarshal(request.Payload, &want) != nil {
			return false
		}
		s.PTY = &PTY{Term: want.Term, Columns: int(want.Columns), Rows: int(want.Rows), Modes: parseModes([]byte(want.Modes))}
		s.size.Store(uint64(want.Columns)<<32 | uint64(want.Rows))
		return true
	case "auth-agent-req@openssh.com":
		s.AgentForwarded = true
		return true
	}
	return false
}

// parseModes reads terminal modes (RFC 4254, section 8).
func parseModes(encoded []byte) ssh.TerminalModes {
	modes := make(ssh.TerminalModes)
	for len(encoded) >= 5 && encoded[0] != 0 && encoded[0] < 160 {
		modes[encoded[0]] = binary.BigEndian.Uint32(encoded[1:])
		encoded = encoded[5:]
	}
	return modes
}

func (s *Session) resize(payload []byte) bool {
	var size struct{ Columns, Rows, Width, Height uint32 }
	if ssh.Unmarshal(payload, &size) != nil {
		return false
	}
	s.size.Store(uint64(size.Columns)<<32 | uint64(size.Rows))
	return true
}

// deliver passes a signal to the handler, or kills the command.
func (s *Session) deliver(signal string) {
	s.mu.Lock()
	signals := s.signals
	s.mu.Unlock()
	switch {
	case s.ignores(signal):
	case signals == nil || signal == "KILL":
		s.kill(signal)
	default:
		select {
		case signals <- signal:
		default:
		}
	}
}

// ignore makes the command ignore a signal from now on.
func (s *Session) ignore(signal string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if signal != "KILL" && knownSignal(signal) {
		s.ignored = append(s.ignored, signal)
	}
}

func (s *Session) ignores(signal string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Contains(s.ignored, signal)
}

// finish tells the client how the command ended, in sshd's order: end of file, status, close.
func (s *Session) finish(status Status) {
	if !s.ended.CompareAndSwap(false, true) {
		return
	}
	s.channel.CloseWrite()
	switch s.conn.fault.Kind {
	case CloseWithoutStatus:
		status.None = true
	case EOFBeforeStatus:
		wait(s.context, s.conn.fault.interval())
	}
	s.close(status)
}

// kill ends the command while its handler is still running. It sends no end of file before the
// status, because x/crypto does not allow CloseWrite while the handler may be writing.
func (s *Session) kill(signal string) {
	if s.ended.CompareAndSwap(false, true) {
		s.close(Status{Signal: signal})
	}
}

func (s *Session) close(status Status) {
	switch {
	case status.None:
	case status.Signal != "":
		s.channel.SendRequest("exit-signal", false, ssh.Marshal(struct {
			Name       string
			CoreDumped bool
			Message    string
			Language   string
		}{Name: status.Signal}))
	default:
		s.channel.SendRequest("exit-status", false, ssh.Marshal(struct{ Code uint32 }{uint32(status.Code)}))
	}
	s.channel.Close()
	s.cancel()
}

// knownSignal reports whether sshd knows the signal (session.c, name2sig).
func knownSignal(name string) bool {
	return slices.Contains(strings.Fields("ABRT ALRM FPE HUP INT KILL PIPE QUIT SEGV TERM USR1 USR2"), name)
}
