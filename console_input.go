package fleetssh

import (
	"context"
	"errors"
	"io"
	"strings"
	"time"

	"fleetssh/internal/cmdline"
	hostmark "fleetssh/internal/mark"
)

// consoleInput is the standard input of a line, in a file on the host. The command
// that has written it waits, and removes it when its own input ends: with the line, or
// with the connection.
type consoleInput struct {
	path string
	ch   *Channel
}

// inputGrace is how long removing a file may take.
const inputGrace = 5 * time.Second

// sendInput sends the input. It goes through a session of its own, since nothing but
// lines may be on the way to the shell: it would run the rest of an input that the
// line does not read.
func (c *Client) sendInput(ctx context.Context, exec string, from *io.SectionReader) (*consoleInput, error) {
	named := hostmark.New() // a login shell may greet before it runs the command
	ch, err := c.Execute(ctx, cmdline.KeepInput(exec, from.Size(), named))
	if err != nil {
		return nil, err
	}
	path, err := ch.sendFile(ctx, from, named.String())
	if err != nil {
		ch.input.Close() // the end of the input is what removes the file
		ch.Close()
		return nil, err
	}
	return &consoleInput{path, ch}, nil
}

// sendFile sends the bytes and returns the name of the file they are in, which the host
// says behind a mark.
func (ch *Channel) sendFile(ctx context.Context, from *io.SectionReader, mark string) (string, error) {
	host, port := ch.address()
	sent := make(chan error, 1)
	spawned := ch.client.spawn(func() {
		n, err := io.Copy(ch.Stdin, io.NewSectionReader(from, 0, from.Size()))
		if err == nil && n < from.Size() {
			err = io.ErrUnexpectedEOF // the host waits for all of it
		}
		sent <- err
	})
	if !spawned {
		return "", ch.overError()
	}
	select {
	case err := <-sent:
		if err != nil && !errors.Is(err, io.ErrClosedPipe) { // the host's refusal is told below
			return "", &SessionError{Host: host, Port: port, Op: "stdin", Err: err}
		}
	case <-ctx.Done():
		return "", interrupted(ctx, nil, ch.client.host, "stdin", 0, 0)
	}
	ctx, cancel := ch.client.starting(ctx)
	defer cancel()
	const (
		longest = 4096 // PATH_MAX of most systems
		most    = 1000 // lines of a greeting
	)
	n := 0
	for line, err := range ch.Stdout.Lines(ctx) {
		if _, path, found := strings.Cut(line, mark); found {
			if err == nil && len(path) <= longest && strings.HasPrefix(path, "/") && !strings.Contains(path, "\x00") {
				return path, nil
			}
			break
		}
		if n++; n == most {
			break
		}
	}
	if err := interrupted(ctx, nil, ch.client.host, "stdin", 0, 0); err != nil {
		return "", err
	}
	return "", &SessionError{Host: host, Port: port, Op: "stdin", Err: errors.New("the host could not keep the input in a temporary file")}
}

// removeAfter removes the file when the line has ended.
func (in *consoleInput) removeAfter(line *HostOutput) {
	in.ch.client.spawn(func() {
		<-line.done
		ctx, cancel := context.WithTimeout(context.Background(), inputGrace)
		defer cancel()
		_ = in.ch.WaitFinished(ctx) // the file is gone, or the host does not answer
		in.ch.Close()
	})
}
