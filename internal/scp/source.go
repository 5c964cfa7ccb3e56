package scp

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Source sends files to a remote "scp -t". Each method sends one record and waits for its answer.
//
// An error concerns one file or directory, and the next one may be sent, unless [Source.Broken]
// reports that the stream has ended. Methods must not be called concurrently. They wait for a
// silent remote side without limit: closing the reader and the writer ends the wait.
type Source struct {
	peer
	begun bool
	open  []bool // for each open directory, whether its times were sent
	timed bool   // the last record was the end of a directory whose times were sent
	late  []error
	block []byte
}

// NewSource returns a source that writes to the input of a remote "scp -t" and reads its output.
func NewSource(w io.Writer, r io.Reader) *Source {
	return &Source{peer: peer{r: bufio.NewReader(r), w: w}}
}

// Broken returns the error that ended the stream, or nil.
func (s *Source) Broken() error { return s.err }

// start waits until the remote side is ready, once.
func (s *Source) start() error {
	if s.err != nil || s.begun {
		return s.err
	}
	s.begun = true
	err := s.response()
	var warning *Warning
	if errors.As(err, &warning) {
		// The target is not a directory as demanded, and scp ends.
		return s.end(&FatalError{warning.Text})
	}
	return err
}

// File sends a file with Size bytes of content. It uses Name, Mode, Size and the times of r, and
// reads no more than Size bytes.
//
// It returns a [*Warning] if the remote side could not write the file. If the remote side refused
// it at once, content is not read. It returns a [*ContentError] if content ended early or failed,
// both errors joined if both happened, and a [*NameError] before anything is sent. After a
// [*ContentError], zeros are sent for the rest of the file, since the protocol has no other way to
// go on; closing the stream ends that.
func (s *Source) File(r Record, content io.Reader) error {
	r.Kind = File
	if r.Size < 0 {
		return fmt.Errorf("send %q: size %d", r.Name, r.Size)
	}
	if err := s.record(r); err != nil {
		return err
	}
	failed, err := s.content(r.Size, content)
	if err != nil {
		return err
	}
	if failed == nil {
		err = s.answer()
	} else {
		err = s.warn(r.Name + ": cannot be read")
	}
	if err != nil {
		return err
	}
	err = s.response()
	if failed != nil && s.err == nil {
		return errors.Join(failed, err)
	}
	return err
}

// content sends size bytes. failed says why some of them are zeros, err why the stream has ended.
func (s *Source) content(size int64, content io.Reader) (failed *ContentError, err error) {
	if s.block == nil {
		s.block = make([]byte, chunk)
	}
	for sent := int64(0); sent < size; {
		block := s.block[:min(size-sent, chunk)]
		n := len(block)
		if failed == nil {
			var err error
			n, err = readSome(content, block)
			// An error that comes with the last bytes does not matter.
			if err != nil && sent+int64(n) < size {
				failed = &ContentError{sent + int64(n), err}
			}
		}
		if n > 0 {
			if err := s.write(block[:n]); err != nil {
				return failed, err
			}
			sent += int64(n)
		}
		if failed != nil && sent == failed.Sent {
			clear(s.block)
		}
	}
	return failed, nil
}

// readSome reads at least one byte, or returns an error.
func readSome(r io.Reader, p []byte) (int, error) {
	for range 100 {
		n, err := r.Read(p)
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
	return 0, io.ErrNoProgress
}

// Warn tells the remote side that a file is not sent, so that its exit status shows it. It gets no
// answer. At most 1 KiB of the reason is sent.
func (s *Source) Warn(reason string) error {
	if err := s.start(); err != nil {
		return err
	}
	return s.warn(reason)
}

// Dir begins a directory. It uses Name, Mode and the times of r. Everything sent up to its
// [Source.EndDir] is in it. After an error, the directory has not begun and must not be ended.
func (s *Source) Dir(r Record) error {
	r.Kind = Dir
	if err := s.record(r); err != nil {
		return err
	}
	s.open = append(s.open, !r.ModTime.IsZero())
	return nil
}

// EndDir ends the directory that began last.
func (s *Source) EndDir() error {
	if len(s.open) == 0 {
		return errors.New("end a directory: none has begun")
	}
	last := len(s.open) - 1
	timed := s.open[last]
	s.open = s.open[:last]
	err := s.record(Record{Kind: EndDir})
	s.timed = timed
	return err
}

// record sends the lines of a record and reads the answers.
func (s *Source) record(r Record) error {
	if r.Kind != EndDir {
		if err := checkName(r.Name); err != nil {
			return err
		}
	}
	if err := s.start(); err != nil {
		return err
	}
	if r.Kind != EndDir && !r.ModTime.IsZero() {
		if err := s.ask(r.appendTimes); err != nil {
			return err
		}
	}
	return s.ask(r.appendTo)
}

// ask sends a line and reads the answer.
func (s *Source) ask(line func([]byte) []byte) error {
	s.line = line(s.line[:0])
	if err := s.write(s.line); err != nil {
		return err
	}
	err := s.response()
	// Before 8.3 (CVE-2020-12062), OpenSSH answers the end of a directory and then sets its times.
	// If that fails, it sends a warning before its next answer. From 8.3 on, it sends none.
	if s.timed {
		s.timed = false
		if isLate(err) {
			s.late = appendLate(s.late, err)
			err = s.response()
		}
	}
	return err
}

func isLate(err error) bool {
	var warning *Warning
	return errors.As(err, &warning) && strings.Contains(warning.Text, ": set times: ")
}

// maxLate limits the late warnings that are kept for [Source.Finish].
const maxLate = 100

func appendLate(late []error, err error) []error {
	if len(late) < maxLate {
		late = append(late, err)
	}
	return late
}

// Finish reads the rest of what the remote side sends. The caller must have closed the remote
// side's input, or Finish waits for ever. It returns the warnings that belong to no record, joined,
// at most 100 of them: OpenSSH before 8.3 reports only afterwards that it could not set the times
// of a directory. If the stream was broken before, it returns nil, since a method has returned that
// error.
func (s *Source) Finish() error {
	if s.err != nil {
		return nil
	}
	if err := s.start(); err != nil {
		return err
	}
	for {
		if _, err := s.r.Peek(1); errors.Is(err, io.EOF) {
			break
		}
		err := s.response()
		if s.err != nil {
			s.late = append(s.late, s.err)
			break
		}
		if err != nil {
			s.late = appendLate(s.late, err)
		} else {
			s.late = append(s.late, s.end(broken("an answer that nothing asked for")))
			break
		}
	}
	s.err = io.ErrClosedPipe
	return errors.Join(s.late...)
}
