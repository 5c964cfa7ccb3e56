package fleetssh

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"fleetssh/internal/spool"
)

// input is the standard input of a channel. A host that does not read it holds up
// whoever writes it, but not whoever closes it or the channel.
type input struct {
	ch    *Channel
	first []byte // goes out before anything else; nobody changes it

	// Made by ready: most commands have no input.
	work   chan []byte   // one chunk at a time, to the goroutine that sends
	result chan error    // what became of it
	gate   chan struct{} // closed when what is written may go out
	closed chan struct{} // closed by Close

	writing sync.Mutex // held during Write: there is one chunk under way

	mu      sync.Mutex // protects what follows
	pumping bool       // the goroutine that sends runs, or none is needed
	opened  bool       // gate is closed
	owned   bool       // a replay buffer feeds the command, and closes the input
	over    bool       // closed is closed
	empty   bool       // there was never to be any; its end follows the start
	ended   sync.Once  // end
}

const inputChunk = 32 << 10

func newInput(ch *Channel) *input { return &input{ch: ch} }

// ready makes the channels for a goroutine that sends. in.mu is held.
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

// open lets pass what is written: nothing else, such as sudo, will read it.
func (in *input) open() {
	in.mu.Lock()
	defer in.mu.Unlock()
	if !in.opened && in.gate != nil {
		close(in.gate)
	}
	in.opened = true
}

// Write implements [io.Writer]. It returns when p has been sent, which waits for
// the host to take it, or when the channel has ended.
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
		case <-in.ch.done:
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

// sentGrace is how long after the end of a command a Write waits to hear whether the
// command has taken what was written: it may have ended because of that.
const sentGrace = 100 * time.Millisecond

// sent reports whether the chunk under way has been sent.
func (in *input) sent() bool {
	select {
	case err := <-in.result:
		return err == nil
	case <-in.ch.done:
	}
	timer := time.NewTimer(sentGrace)
	defer timer.Stop()
	select {
	case err := <-in.result:
		return err == nil
	case <-timer.C: // the host takes nothing, and the channel was closed here
		return false
	}
}

// Close says that no more comes. What has been written before is sent first. It
// does not wait.
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

// leaveEmpty closes the input before the command is started. Its end is sent by
// the goroutine that asks for the start, which saves one.
func (in *input) leaveEmpty() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.empty, in.over, in.pumping = true, true, true
}

// end tells the host that no more comes.
func (in *input) end() { in.ended.Do(func() { in.ch.raw.CloseWrite() }) }

// finish closes the input unless a replay buffer will.
func (in *input) finish() {
	in.mu.Lock()
	owned := in.owned
	in.mu.Unlock()
	if !owned {
		in.Close()
	}
}

// pump starts the goroutine that sends, at the first use.
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
	in.pumping = in.ch.client.conn.Go(in.send)
	return in.pumping
}

// send is the goroutine that sends. It ends with the input or the channel; a
// chunk that the host does not take holds it as long as the connection lasts.
func (in *input) send() {
	done := in.ch.done
	select {
	case <-in.gate:
	case <-done:
		return
	}
	if !in.begin() {
		return // the channel has ended, and so hears whoever writes
	}
	for {
		select {
		case chunk := <-in.work:
			_, err := in.ch.raw.Write(chunk)
			in.result <- err // has room: one chunk is under way
		case <-in.closed:
			in.end()
			return
		case <-done:
			return
		}
	}
}

// begin sends what goes out before anything else.
func (in *input) begin() bool {
	if len(in.first) == 0 {
		return true
	}
	_, err := in.ch.raw.Write(in.first)
	return err == nil
}

// feed sends the whole replay buffer and then closes the input.
func (in *input) feed(replay *spool.ReplayBuffer) {
	in.mu.Lock()
	in.owned, in.over = true, true // nobody else writes
	in.ready()
	in.mu.Unlock()
	in.ch.client.conn.Go(func() {
		select {
		case <-in.gate:
		case <-in.ch.done:
			return
		}
		if !in.begin() {
			return
		}
		buf := make([]byte, inputChunk)
		for off := int64(0); ; {
			n, err := replay.ReadAt(in.ch.context(), buf, off)
			if n > 0 {
				if _, err := in.ch.raw.Write(buf[:n]); err != nil {
					return
				}
			}
			off += int64(n)
			switch {
			case err == nil:
			case err == io.EOF:
				in.end()
				return
			case in.ch.Finished():
				return
			default:
				in.fail(err)
				return
			}
		}
	})
}

// fail stops the command because there is no more of its input, which is not the end of it: a
// command that took it for the end would go on with a part, and say that all is well. It is
// told to end first, since closing the channel ends its input too.
func (in *input) fail(err error) {
	ch := in.ch
	host, port := ch.address()
	ch.mu.Lock()
	ch.broken = &SessionError{Host: host, Port: port, Phase: PhaseStdin, Err: fmt.Errorf("it cannot be read: %w", err)}
	ch.mu.Unlock()
	_ = ch.stop(context.Background(), Lost) // the outcome says that it may still run
}
