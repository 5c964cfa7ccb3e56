package fleetssh

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"fleetssh/internal/spool"
)

// input is the standard input of a channel. If the host does not read, Write blocks; Close and
// closing the channel do not.
type input struct {
	s     *session
	first []byte // sent before anything else; never modified

	// Created by ready, because most commands have no input.
	work   chan []byte   // one chunk at a time, for the sending goroutine
	result chan error    // the result of sending it
	gate   chan struct{} // closed when input may be sent
	closed chan struct{} // closed by Close

	writing sync.Mutex // held during Write: only one chunk is under way

	mu      sync.Mutex // protects what follows
	pumping bool       // the sending goroutine runs, or none is needed
	opened  bool       // gate is closed
	owned   bool       // a replay buffer feeds the command, and closes the input
	over    bool       // closed is closed
	empty   bool       // there is no input; EOF follows the start
	ended   sync.Once  // end
}

const inputChunk = 32 << 10

func newInput(s *session) *input { return &input{s: s} }

// ready creates the channels for the sending goroutine. in.mu is held.
func (in *input) ready() {
	in.work, in.result = make(chan []byte), make(chan error, 1)
	in.gate, in.closed = make(chan struct{}), make(chan struct{})
	if in.opened {
		close(in.gate)
	}
	if in.over {
		close(in.closed)
	}
	in.pumping = true
}

// open lets input through to the command. Until then sudo, for example, could read it instead.
func (in *input) open() {
	in.mu.Lock()
	defer in.mu.Unlock()
	if !in.opened && in.gate != nil {
		close(in.gate)
	}
	in.opened = true
}

// Write implements [io.Writer]. It blocks until the host has room for p and p has been sent, or
// until the channel has ended.
func (in *input) Write(p []byte) (n int, err error) {
	in.writing.Lock()
	defer in.writing.Unlock()
	if err := in.pump(); err != nil {
		return 0, err
	}
	for len(p) > 0 {
		// A copy: the goroutine may hold it longer than this call lasts.
		chunk := append([]byte(nil), p[:min(len(p), inputChunk)]...)
		select {
		case in.work <- chunk:
		case <-in.s.done:
			return n, io.ErrClosedPipe
		case <-in.closed:
			return n, io.ErrClosedPipe
		}
		if !in.sent() {
			return n, io.ErrClosedPipe
		}
		n += len(chunk)
		p = p[len(chunk):]
	}
	return n, nil
}

// sentGrace is how long after the end of a command Write still waits for the result of sending.
// The command may have ended because it read that input.
const sentGrace = 100 * time.Millisecond

// sent reports whether the chunk under way has been sent.
func (in *input) sent() bool {
	select {
	case err := <-in.result:
		return err == nil
	case <-in.s.done:
	}
	timer := time.NewTimer(sentGrace)
	defer timer.Stop()
	select {
	case err := <-in.result:
		return err == nil
	case <-timer.C: // the host does not read, and the channel was closed on this side
		return false
	}
}

// Close ends the input. Everything written before is sent first, then EOF. Close does not wait
// for that.
func (in *input) Close() error {
	in.mu.Lock()
	over := in.over
	if !over && in.closed != nil {
		close(in.closed)
	}
	in.over = true
	in.mu.Unlock()
	if !over {
		in.startPump()
	}
	return nil
}

// leaveEmpty closes the input before the command is started. The goroutine that requests the
// start also sends EOF, which saves a goroutine.
func (in *input) leaveEmpty() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.empty, in.over, in.pumping = true, true, true
}

// end sends EOF.
func (in *input) end() { in.ended.Do(func() { in.s.raw.CloseWrite() }) }

// finish closes the input, unless a replay buffer feeds it and closes it at its own end.
func (in *input) finish() {
	in.mu.Lock()
	owned := in.owned
	in.mu.Unlock()
	if !owned {
		in.Close()
	}
}

// pump starts the sending goroutine at the first use.
func (in *input) pump() error {
	in.mu.Lock()
	over := in.over
	in.mu.Unlock()
	if over || !in.startPump() {
		return io.ErrClosedPipe
	}
	return nil
}

func (in *input) startPump() bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.pumping {
		return true
	}
	in.ready()
	in.pumping = in.s.client.conn.Go(in.send)
	return in.pumping
}

// send is the sending goroutine. It ends with the input or the channel. While the host has no
// room for a chunk, it blocks, for as long as the connection lasts.
func (in *input) send() {
	done := in.s.done
	select {
	case <-in.gate:
	case <-done:
		return
	}
	if !in.sendFirst() {
		return // the channel has ended: Write returns io.ErrClosedPipe
	}
	for {
		select {
		case chunk := <-in.work:
			_, err := in.s.raw.Write(chunk)
			in.result <- err // has room: one chunk is under way
		case <-in.closed:
			in.end()
			return
		case <-done:
			return
		}
	}
}

// sendFirst sends the bytes that precede all other input, and reports whether that succeeded.
func (in *input) sendFirst() bool {
	if len(in.first) == 0 {
		return true
	}
	_, err := in.s.raw.Write(in.first)
	return err == nil
}

// feed sends the whole replay buffer and then closes the input.
func (in *input) feed(replay *spool.ReplayBuffer) {
	in.mu.Lock()
	in.owned, in.over = true, true // Write returns io.ErrClosedPipe
	in.ready()
	in.mu.Unlock()
	in.s.client.conn.Go(func() {
		select {
		case <-in.gate:
		case <-in.s.done:
			return
		}
		if !in.sendFirst() {
			return
		}
		buf := make([]byte, inputChunk)
		for off := int64(0); ; {
			n, err := replay.ReadAt(in.s.context(), buf, off)
			if n > 0 {
				if _, err := in.s.raw.Write(buf[:n]); err != nil {
					return
				}
			}
			off += int64(n)
			switch {
			case err == nil:
			case err == io.EOF:
				in.end()
				return
			case in.s.Finished():
				return
			default:
				in.fail(err)
				return
			}
		}
	})
}

// fail stops the command because its input cannot be read any further. The command must not see
// EOF: it would process part of the input and report success. fail therefore signals the command
// before it closes the channel, which implies EOF.
func (in *input) fail(err error) {
	s := in.s
	host, port := s.address()
	s.mu.Lock()
	s.broken = &SessionError{Host: host, Port: port, Phase: PhaseStdin, Err: fmt.Errorf("it cannot be read: %w", err)}
	s.mu.Unlock()
	_ = s.stop(context.Background(), Lost) // the outcome says that it may still run
}
