package scp

import (
	"bufio"
	"errors"
	"fmt"
	"io"
)

// Sink receives files from a remote "scp -f".
//
// [Sink.Next] returns one record after the other. [Sink.Read] and [Sink.WriteTo] tell the remote
// side to send the content of a file, and read it. If the caller does not want a record, or cannot
// write it, it calls [Sink.Refuse] before the next Next. Otherwise Next answers the record.
//
// The remote side may be hostile and send files that were not requested, without end. The Sink
// checks names, bounds lines and nesting, and allocates nothing for what the remote side claims.
// The caller has to bound how much it accepts, and to check that a name was requested. Methods must
// not be called concurrently. As with a [Source], closing the reader and the writer ends a wait.
type Sink struct {
	peer
	begun  bool
	state  state
	depth  int
	left   int64  // bytes of content that have not been read
	status error  // what the remote side sent after the content; nil: success
	block  []byte // for WriteTo
}

// state is what the remote side waits for.
type state int

const (
	idle      state = iota // nothing: it sends the next record
	offered                // an answer to the record of a file
	streaming              // nothing: it sends content
	complete               // an answer to the content, which was read
	entering               // an answer to the beginning of a directory
	leaving                // an answer to its end
)

// NewSink returns a sink that writes to the input of a remote "scp -f" and reads its output.
func NewSink(w io.Writer, r io.Reader) *Sink {
	return &Sink{peer: peer{r: bufio.NewReaderSize(r, chunk), w: w}}
}

// Broken returns the error that ended the stream, or nil. It is [io.EOF] after a regular end.
func (s *Sink) Broken() error { return s.err }

// Next answers the last record and returns the next one. It refuses a file whose content was not
// read at all. If only a part was read, it discards the rest and tells the remote side.
//
// The error is a [*Warning] if the remote side could not send something; the next call goes on. It
// is [io.EOF] at the end, even if there was no record. Every other error has ended the stream.
func (s *Sink) Next() (Record, error) {
	if err := s.answerLast(); err != nil {
		return Record{}, err
	}
	var r Record
	for {
		line, err := s.controlLine(r.ModTime.IsZero())
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

// answerLast answers the last record, or tells the remote side to begin.
func (s *Sink) answerLast() error {
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
	case streaming:
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

// controlLine reads the line of a record or of times; it is not empty. The stream may end here only
// if mayEnd is set and no directory is open.
func (s *Sink) controlLine(mayEnd bool) ([]byte, error) {
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
		return nil, s.statusError(first, line)
	case '\n':
		return nil, s.end(broken("an empty line instead of a record"))
	case 'T', 'C', 'D', 'E':
		return s.readLine([]byte{first})
	}
	// This is no line of the protocol, so do not wait for its end.
	rest, _ := s.r.Peek(min(s.r.Buffered(), 64))
	return nil, s.end(broken("%s instead of a record", quote(append([]byte{first}, rest...))))
}

// Read reads the content of the file that Next returned, as many bytes as the record announced.
// Then it returns [io.EOF], or a [*Warning] if the remote side reports that it could not read the
// file and has sent zeros instead.
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

// WriteTo writes the rest of the content of the file that Next returned to w. It returns nil at the
// end, an error of [Sink.Read], or an error of w. After an error of w, the caller should call
// [Sink.Refuse].
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

// accept tells the remote side to send the content, unless it does so already.
func (s *Sink) accept() error {
	switch s.state {
	case offered, streaming, complete:
	default:
		return errors.New("read content: no file is being received")
	}
	if s.err == nil && s.state == offered {
		s.state = streaming
		return s.answer()
	}
	return s.err
}

// finish reads the status after the content, once, and returns it, or io.EOF for success.
func (s *Sink) finish() error {
	if s.state == streaming {
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

// Refuse answers the last record with a warning: the caller does not want it or could not write it.
// At most 1 KiB of the reason is sent. If the content is being sent, Refuse discards the rest of it
// first. If a directory is refused, the remote side sends neither its content nor its end.
func (s *Sink) Refuse(reason string) error {
	if s.err != nil {
		return s.err
	}
	switch s.state {
	case idle:
		return fmt.Errorf("refuse (%s): there is no record to answer", reason)
	case streaming:
		if err := s.discard(); err != nil {
			return err
		}
	case leaving:
		s.depth--
	}
	s.state = idle
	return s.warn(reason)
}

// discard reads the rest of the content and the status after it.
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
