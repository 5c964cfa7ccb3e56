package fleetssh

import (
	"context"
	"errors"
	"io"
	"iter"
	"os"
	"strings"
	"time"

	"fleetssh/internal/charset"
	"fleetssh/internal/spool"
)

// lineLimit is the length in bytes up to which a line is yielded in one piece.
const lineLimit = 1 << 20

// Output is one output stream of a command. Output is kept until it is read: in memory, and beyond
// [ParallelClient.OutputMemory] on disk. Only one goroutine may read it at a time. It stays
// readable after the connection is closed.
type Output struct {
	stream *spool.Stream
	host   *HostConfig // for errors
	text   *charset.Set
	wait   time.Duration // Command.ReadTimeout

	lines   string // complete lines, removed from stream and not yet yielded
	whole   bool   // lines is one line without a line end, to be yielded as it is
	cut     bool   // that line continues, because it is longer than lineLimit
	partial []byte // the beginning of the line after lines
}

func newOutput(host *HostConfig, budget *spool.Budget, opt streamOptions) *Output {
	return &Output{stream: spool.NewStream(budget, opt.max), host: host, text: opt.text, wait: opt.readTimeout}
}

// Read implements [io.Reader]. It blocks until there are bytes to read, and returns them as the
// host sent them. If none arrive within [Command.ReadTimeout], the error is a [*TimeoutError]; the
// caller may read on.
func (o *Output) Read(p []byte) (n int, err error) {
	if len(p) == 0 {
		return 0, nil
	}
	if o.lines != "" {
		n = copy(p, o.lines)
		o.lines = o.lines[n:]
		return n, nil
	}
	if len(o.partial) > 0 {
		n = copy(p, o.partial)
		o.partial = o.partial[n:]
		return n, nil
	}
	data, err := o.peek(context.Background())
	if err != nil {
		return 0, err
	}
	n = copy(p, data)
	o.stream.Discard(n)
	return n, nil
}

// WriteTo implements [io.WriterTo]. [io.Copy] uses it, which avoids copying the data once more.
func (o *Output) WriteTo(w io.Writer) (total int64, err error) {
	for o.lines != "" {
		n, err := writeAll(w, []byte(o.lines))
		o.lines = o.lines[n:]
		total += int64(n)
		if err != nil {
			return total, err
		}
	}
	for len(o.partial) > 0 {
		n, err := writeAll(w, o.partial)
		o.partial = o.partial[n:]
		total += int64(n)
		if err != nil {
			return total, err
		}
	}
	for {
		data, err := o.peek(context.Background())
		if err == io.EOF {
			return total, nil
		}
		if err != nil {
			return total, err
		}
		n, err := writeAll(w, data)
		o.stream.Discard(n)
		total += int64(n)
		if err != nil {
			return total, err
		}
	}
}

// writeAll writes p. The error is [io.ErrShortWrite] if w accepts less without an error.
func writeAll(w io.Writer, p []byte) (n int, err error) {
	if n, err = w.Write(p); n < len(p) && err == nil {
		err = io.ErrShortWrite
	}
	return n, err
}

// Lines yields the lines of the stream as they arrive, decoded and without their line ends. A line
// ends with "\n"; one "\r" directly before it belongs to the line end. The last line may lack a
// line end. A line longer than 1 MiB is yielded in several pieces.
//
// If a line cannot be decoded, Lines yields its raw bytes with a [*DecodeError] and continues. Any
// other error ends the loop. A [*TimeoutError] or leaving the loop early loses no output: range
// over Lines again to continue.
func (o *Output) Lines(ctx context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for {
			for o.lines != "" {
				line := o.nextLine()
				text, err := decode(o.text, line)
				if !yield(text, err) {
					return
				}
			}
			if err := o.fill(ctx); err == io.EOF {
				return
			} else if err != nil {
				yield("", err)
				return
			}
		}
	}
}

// Truncated reports whether the stream is incomplete because it reached [Command.MaxOutput] or the
// disk was full.
func (o *Output) Truncated() bool { return o.stream.Truncated() }

// DecodeError means that a line is not valid in the command's character set. The line is yielded
// with the error, as raw bytes.
type DecodeError struct{ Encoding string }

// decode returns the text of a line, or the line as it is and a *DecodeError.
func decode(set *charset.Set, line string) (string, error) {
	text, ok := set.Decode(line)
	if !ok {
		return line, &DecodeError{set.Name()}
	}
	return text, nil
}

// Error implements [error].
func (e *DecodeError) Error() string { return "line is not valid " + e.Encoding }

// nextLine removes the first line from o.lines and returns it without its line end.
func (o *Output) nextLine() string {
	if o.whole {
		line := o.lines
		o.lines = ""
		return line
	}
	line, rest, _ := o.text.CutLine(o.lines)
	o.lines = rest
	return line
}

// fill waits until o.lines is not empty. The error is io.EOF at the end of the stream.
func (o *Output) fill(ctx context.Context) error {
	for {
		data, err := o.peek(ctx)
		if err != nil && err != io.EOF {
			return err
		}
		if o.take(data, err == io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// take moves complete lines from data, which peek has returned, to o.lines, or adds the beginning
// of a line to o.partial. It reports whether o.lines holds any. The cost is linear in the bytes that
// arrive: only new bytes are searched for a line end.
func (o *Output) take(data []byte, end bool) bool {
	if end {
		if len(o.partial) == 0 {
			return false
		}
		o.lines, o.whole, o.cut = string(o.partial), true, false // the last line has no line end
		o.partial = nil
		return true
	}
	// Two bytes more than the limit, so that "\r\n" after a line of exactly lineLimit bytes is
	// still found.
	if room := lineLimit + 2 - len(o.partial); len(data) > room {
		data = data[:room]
	}
	if end := o.text.LastLineEnd(o.partial, data); end > 0 {
		o.takeLines(data, end)
		return true
	}
	o.partial = append(o.partial, data...)
	o.stream.Discard(len(data))
	if len(o.partial) == lineLimit+2 {
		cut := o.text.PieceEnd(o.partial, lineLimit)
		o.lines, o.whole, o.cut = string(o.partial[:cut]), true, true
		o.partial = append(o.partial[:0], o.partial[cut:]...)
		return true
	}
	return false
}

// takeLines moves o.partial and data[:end], which ends with a line end, to o.lines. The rest of data
// becomes o.partial.
func (o *Output) takeLines(data []byte, end int) {
	o.whole, o.cut = false, false
	if len(o.partial) == 0 {
		o.lines = string(data[:end])
	} else {
		var b strings.Builder
		b.Grow(len(o.partial) + end)
		b.Write(o.partial)
		b.Write(data[:end])
		o.lines = b.String()
	}
	o.partial = append(o.partial[:0], data[end:]...)
	if cap(o.partial) > 2*chunkHint && len(o.partial) < chunkHint {
		o.partial = append([]byte(nil), o.partial...) // release the memory of a long line
	}
	o.stream.Discard(len(data))
}

const chunkHint = 32 << 10

// peek waits for data. The error is io.EOF at the end of the stream.
func (o *Output) peek(ctx context.Context) ([]byte, error) {
	data, err := o.stream.Peek()
	if len(data) == 0 && err == nil {
		if err = o.stream.Wait(ctx, o.wait); err == nil {
			data, err = o.stream.Peek()
		}
	}
	if err == nil || err == io.EOF {
		return data, err
	}
	host, port := o.host.name(), o.host.port()
	if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) {
		return nil, &TimeoutError{Host: host, Port: port, Phase: PhaseRead, After: o.wait}
	}
	if keep, ok := errors.AsType[*spool.SpillError](err); ok {
		return nil, &SessionError{Host: host, Port: port, Phase: PhaseOutput, Err: keep}
	}
	return nil, err
}
