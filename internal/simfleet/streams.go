package simfleet

import (
	"bytes"
	"context"
	"io"
	"net"
	"time"

	"golang.org/x/crypto/ssh"
)

// streams returns the standard streams of a session: the channel's streams, as changed by the PTY
// and the fault.
func (s *Session) streams() (stdin io.Reader, stdout, stderr io.Writer) {
	stdin, stdout, stderr = s.channel, s.channel, s.channel.Stderr()
	switch s.conn.fault.Kind {
	case NeverReadStdin:
		stdin = deafReader{s.context}
	case DripOutput, CutAfter:
		stdout, stderr = &faultyWriter{s, stdout}, &faultyWriter{s, stderr}
	}
	if s.PTY != nil {
		stdin = &ptyReader{session: s, r: stdin}
		if s.PTY.translates() {
			stdout = crlfWriter{stdout}
		}
		stderr = stdout
	}
	return stdin, stdout, stderr
}

// translates reports whether the terminal turns "\n" into "\r\n". It does so unless the client has
// turned the mode off.
func (p *PTY) translates() bool {
	for _, mode := range []uint8{ssh.OPOST, ssh.ONLCR} {
		if value, set := p.Modes[mode]; set && value == 0 {
			return false
		}
	}
	return true
}

// deafReader reads nothing until the session ends.
type deafReader struct {
	context context.Context
}

func (r deafReader) Read([]byte) (int, error) {
	<-r.context.Done()
	return 0, io.EOF
}

// faultyWriter writes slowly (DripOutput), or cuts the connection (CutAfter).
type faultyWriter struct {
	session *Session
	w       io.Writer
}

func (f *faultyWriter) Write(p []byte) (int, error) {
	c := f.session.conn
	if c.fault.Kind == DripOutput {
		return drip(f.w, p, c.fault.interval(), f.session.Done())
	}
	end := c.written.Add(int64(len(p)))
	if end < int64(c.fault.Bytes) {
		return f.w.Write(p)
	}
	over := min(end-int64(c.fault.Bytes), int64(len(p)))
	n, _ := f.w.Write(p[:int64(len(p))-over])
	c.reset()
	return n, net.ErrClosed
}

// crlfWriter turns "\n" into "\r\n".
type crlfWriter struct {
	w io.Writer
}

func (c crlfWriter) Write(p []byte) (int, error) {
	if _, err := c.w.Write(bytes.ReplaceAll(p, []byte("\n"), []byte("\r\n"))); err != nil {
		return 0, err
	}
	return len(p), nil
}

// ptyReader reads like a terminal: a carriage return is a newline, ^D ends the input, ^C
// interrupts. It does not echo, and it does not wait for whole lines.
type ptyReader struct {
	session *Session
	r       io.Reader
	ended   bool
}

func (t *ptyReader) Read(p []byte) (int, error) {
	if t.ended {
		return 0, io.EOF
	}
	n, err := t.r.Read(p)
	for i := range n {
		switch p[i] {
		case '\r':
			p[i] = '\n'
		case 0x03:
			t.session.deliver("INT")
		case 0x04:
			t.ended = true
			if i == 0 {
				return 0, io.EOF
			}
			return i, nil
		}
	}
	return n, err
}

// wait waits for d or until the context is done, and reports whether d passed.
func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
