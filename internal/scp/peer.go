package scp

import (
	"bufio"
	"errors"
	"fmt"
	"io"
)

// peer is the connection to the remote side, for both directions.
type peer struct {
	r    *bufio.Reader
	w    io.Writer
	line []byte // the last line that was read or written; its capacity is at most maxLine+1
	err  error  // what ended the stream
}

// fail ends the stream with an error of the reader or writer.
func (p *peer) fail(doing string, err error) error {
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	p.err = fmt.Errorf("%s: %w", doing, err)
	return p.err
}

// end ends the stream with an error that is returned as it is.
func (p *peer) end(err error) error {
	p.err = err
	return err
}

func (p *peer) write(b []byte) error {
	if _, err := p.w.Write(b); err != nil {
		return p.fail("write to the remote scp", err)
	}
	return nil
}

// answer sends the status 0.
func (p *peer) answer() error { return p.write([]byte{0}) }

// warn sends the status 1 with a text, on one line and cut to what OpenSSH reads as a line.
func (p *peer) warn(text string) error {
	const limit = 1 << 10
	line := append(p.line[:0], 1)
	line = append(line, "scp: "...)
	for _, c := range []byte(text[:min(len(text), limit)]) {
		if c < ' ' || c == 0x7f {
			c = '?'
		}
		line = append(line, c)
	}
	p.line = append(line, '\n')
	return p.write(p.line)
}

// response reads a status. It returns nil for 0 and a *Warning for 1. Any other error has ended the
// stream.
func (p *peer) response() error {
	status, err := p.r.ReadByte()
	if err != nil {
		return p.fail("read the answer of the remote scp", err)
	}
	switch status {
	case 0:
		return nil
	case 1, 2:
		line, err := p.readLine(nil)
		if err != nil {
			return err
		}
		return p.statusError(status, line)
	}
	// This is not scp but a message of the shell, or the output of a start-up file. The error
	// quotes what has arrived.
	rest, _ := p.r.Peek(min(p.r.Buffered(), 64))
	for i, c := range rest {
		if c == '\n' {
			rest = rest[:i]
			break
		}
	}
	return p.end(broken("%s instead of an answer", quote(append([]byte{status}, rest...))))
}

// statusError returns the error for a status other than 0.
func (p *peer) statusError(status byte, line []byte) error {
	if status == 2 {
		return p.end(&FatalError{string(line)})
	}
	return &Warning{string(line)}
}

// readLine reads a line and returns it without its newline. begin is the part that has been read
// already. The result is valid until the next call of a method.
func (p *peer) readLine(begin []byte) ([]byte, error) {
	p.line = append(p.line[:0], begin...)
	for {
		c, err := p.r.ReadByte()
		if err != nil {
			return nil, p.fail("read a line of the remote scp", err)
		}
		if c == '\n' {
			return p.line, nil
		}
		if len(p.line) == maxLine {
			return nil, p.end(broken("a line of more than %d bytes, which begins with %s", maxLine, quote(p.line)))
		}
		p.line = append(p.line, c)
	}
}
