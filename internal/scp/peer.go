package scp

import (
	"bufio"
	"errors"
	"fmt"
	"io"
)

// peer is the remote side, as both directions need it.
type peer struct {
	r    *bufio.Reader
	w    io.Writer
	line []byte // the last line that was read or written; its capacity is at most maxLine+1
	err  error  // what ended the stream
}

// fail ends the stream. What the remote side said stays what it is.
func (p *peer) fail(doing string, err error) error {
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	p.err = fmt.Errorf("%s: %w", doing, err)
	return p.err
}

// end ends the stream with an error that needs no more words.
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

// warn sends the status 1 with a text, on one line and cut to what OpenSSH reads in one.
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

// response reads a status: nil is 0, a *Warning is 1, everything else has ended the stream.
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
		return p.said(status, line)
	}
	// Not scp but what a shell says, or what somebody's profile prints. It is shown as far as it is here.
	rest, _ := p.r.Peek(min(p.r.Buffered(), 64))
	for i, c := range rest {
		if c == '\n' {
			rest = rest[:i]
			break
		}
	}
	return p.end(broken("%s instead of an answer", quote(append([]byte{status}, rest...))))
}

// said is what a status other than 0 means.
func (p *peer) said(status byte, line []byte) error {
	if status == 2 {
		return p.end(&FatalError{string(line)})
	}
	return &Warning{string(line)}
}

// readLine reads to the next newline, which is not returned; begin is what has been read of the line. The result is valid
// until the next call of a method.
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
