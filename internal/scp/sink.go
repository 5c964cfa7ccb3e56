package scp

import (
	"bufio"
	"errors"
	"fmt"
	"io"
)

// Sink gets files from a remote "scp -f".
//
// [Sink.Next] returns one record after the other. The content of a file is read by [Sink.Read] or [Sink.WriteTo], which
// also tell the remote side to send it. What is not wanted, or could not be written, is answered by [Sink.Refuse] before
// the next Next; anything else by Next itself.
//
// A remote side may be hostile: it may send what was not asked for, without end. Names are checked, lines and nesting
// bounded, and nothing is allocated for what it claims; how much is taken, and whether a name is one that was asked for,
// is up to the caller. Methods must not be called at the same time. As with a [Source], silence is ended by closing.
type Sink struct {
	peer
	begun  bool
	state  state
	depth  int
	left   int64  // bytes of content that have not been read
	status error  // what the remote side said behind the content; nil is well
	block  []byte // for WriteTo
}

// state is what the remote side waits for.
type state int

const (
	idle     state = iota // nothing: it sends the next record
	offered               // an answer to the record of a file
	flowing               // that the content is read; it is being sent
	complete              // an answer to the file, which was read
	entering              // an answer to the begin of a directory
	leaving               // an answer to its end
)

// NewSink returns a sink that writes to the input of a remote "scp -f" and reads its output.
func NewSink(w io.Writer, r io.Reader) *Sink {
	return &Sink{peer: peer{r: bufio.NewReaderSize(r, chunk), w: w}}
}

// Broken is the error that ended the stream, or nil. It is [io.EOF] after a proper end.
func (s *Sink) Broken() error { return s.err }

// Next answers the last record and returns the next one. A file that nobody began to read is refused; what was not read
// of one is read and thrown away, and the remote side gets word of it.
//
// The error is a [*Warning] if there was something that the remote side could not send; the next call goes on. It is
// [io.EOF] at the end, which may be the first thing to come. Every other error has ended the stream.
func (s *Sink) Next() (Record, error) {
	if err := s.settle(); err != nil {
		return Record{}, err
	}
	var r Record
	for {
		line, err := s.control(r.ModTime.IsZero())
		if err != nil {
			return Record{}, err
		}
		if line[0] != 'T' {
			if err := r.parse(line); err != nil {
				return Record{}, s.end(err)
			}
			break
		}
		if !r.ModTime.IsZero() {
			return Record{}, s.end(broken("times twice"))
		}
		if err := r.parseTimes(line); err != nil {
			return Record{}, s.end(err)
		}
		if err := s.answer(); err != nil {
			return Record{}, err
		}
	}
	switch r.Kind {
	case File:
		s.state, s.left, s.status = offered, r.Size, nil
	case Dir:
		if s.depth == maxDepth {
			return Record{}, s.end(broken("directories more than %d deep", maxDepth))
		}
		s.state = entering
	case EndDir:
		if s.depth == 0 {
			return Record{}, s.end(broken("the end of a directory that did not begin"))
		}
		if !r.ModTime.IsZero() {
			return Record{}, s.end(broken("times for the end of a directory"))
		}
		s.state = leaving
	}
	return r, nil
}

// settle answers the last record, or tells the remote side to begin.
func (s *Sink) settle() error {
	switch {
	case s.err != nil:
		return s.err
	case !s.begun:
		s.begun = true
		return s.answer()
	}
	switch s.state {
	case offered:
		return s.Refuse("not wanted")
	case flowing:
		return s.Refuse("not wanted as a whole")
	case entering:
		s.depth++
	case leaving:
		s.depth--
	case idle:
		return nil
	}
	s.state = idle
	return s.answer()
}

// control reads a line that is a record or times, and not empty. It may be the end only if mayEnd and outside of every
// directory.
func (s *Sink) control(mayEnd bool) ([]byte, error) {
	first, err := s.r.ReadByte()
	if errors.Is(err, io.EOF) && mayEnd && s.depth == 0 {
		return nil, s.end(io.EOF)
	}
	if err != nil {
		return nil, s.fail("read a record of the remote scp", err)
	}
	switch first {
	case 1, 2:
		line, err := s.readLine(nil)
		if err != nil {
			return nil, err
		}
		return nil, s.said(first, line)
	case '\n':
		return nil, s.end(broken("an empty line instead of a record"))
	case 'T', 'C', 'D', 'E':
		return s.readLine([]byte{first})
	}
	// A line that is no record need not end.
	rest, _ := s.r.Peek(min(s.r.Buffered(), 64))
	return nil, s.end(broken("%s instead of a record", quote(append([]byte{first}, rest...))))
}

// Read reads the content of the file that Next returned. At its end, after as many bytes as the record said, it returns
// [io.EOF], or a [*Warning] if the remote side says that the content is not what the file holds, which it does when it
// could not read it: it has filled it with zeros.
func (s *Sink) Read(p []byte) (int, error) {
	if err := s.accept(); err != nil {
		return 0, err
	}
	if s.left == 0 {
		return 0, s.finish()
	}
	n, err := s.r.Read(p[:min(int64(len(p)), s.left)])
	s.left -= int64(n)
	if err != nil && (n == 0 || !errors.Is(err, io.EOF)) {
		return n, s.fail("read content from the remote scp", err)
	}
	return n, nil
}

// WriteTo writes the rest of the content of the file that Next returned. Errors are those of [Sink.Read], nil at the end,
// or those of w, after which there is [Sink.Refuse].
func (s *Sink) WriteTo(w io.Writer) (int64, error) {
	if s.block == nil {
		s.block = make([]byte, chunk)
	}
	var written int64
	for {
		n, err := s.Read(s.block)
		if n > 0 {
			m, err := w.Write(s.block[:n])
			written += int64(m)
			if err == nil && m < n {
				err = io.ErrShortWrite
			}
			if err != nil {
				return written, err
			}
		}
		switch {
		case err == io.EOF && s.err == nil:
			return written, nil
		case err != nil:
			return written, err
		}
	}
}

// accept lets the remote side send the content, if it does not do so yet.
func (s *Sink) accept() error {
	switch s.state {
	case offered, flowing, complete:
	default:
		return errors.New("read content: no file is being received")
	}
	if s.err == nil && s.state == offered {
		s.state = flowing
		return s.answer()
	}
	return s.err
}

// finish reads what the remote side says behind the content, once, and returns it, or io.EOF if all is well.
func (s *Sink) finish() error {
	if s.state == flowing {
		s.status = s.response()
		if s.err != nil {
			return s.err
		}
		s.state = complete
	}
	if s.status != nil {
		return s.status
	}
	return io.EOF
}

// Refuse answers the last record with a warning: it was not wanted or could not be written, for the reason, of which at
// most 1 KiB is sent. Content that has begun to flow is first read to its end and thrown away. A directory that is
// refused has not begun: nothing in it is sent, nor its end.
func (s *Sink) Refuse(reason string) error {
	if s.err != nil {
		return s.err
	}
	switch s.state {
	case idle:
		return fmt.Errorf("refuse (%s): there is no record to answer", reason)
	case flowing:
		if err := s.discard(); err != nil {
			return err
		}
	case leaving:
		s.depth--
	}
	s.state = idle
	return s.warn(reason)
}

// discard reads the rest of the content and what is said behind it.
func (s *Sink) discard() error {
	for s.left > 0 {
		n, err := s.r.Discard(int(min(s.left, 1<<20)))
		s.left -= int64(n)
		if err != nil {
			return s.fail("read content from the remote scp", err)
		}
	}
	if err := s.finish(); s.err != nil {
		return err
	}
	return nil
}
