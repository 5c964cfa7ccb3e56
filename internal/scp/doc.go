// Package scp knows the SCP protocol, which is rcp's, in both directions: a [Source] sends files to a remote "scp -t", a
// [Sink] gets them from a remote "scp -f", and a [Command] says how these are started. It knows neither SSH nor file
// systems: it reads an [io.Reader] and writes to an [io.Writer], and what stops it is that these end.
//
// No document describes the protocol; it is what scp.c of OpenSSH does, measured with OpenSSH 9.2. A record is a line:
//
//	T1795205533 0 1795205533 0   the times of the next record, seconds and microseconds: changed, read
//	C0644 5 name                 a file of 5 bytes, which follow, and behind them a status
//	D0755 0 name                 a directory begins
//	E                            it ends
//
// Each record, and each file at its end, is answered by a status: 0 is well, 1 and a line is a warning (this file
// failed, go on), 2 and a line is the end. A warning of the source may also stand where a record could.
//
// A name stands in the line as it is and ends with it, so that no name with a newline can be sent. OpenSSH sends such a
// file as "a\^Jb" and leaves it under that name, which another file may have. A Source refuses these names; a Sink takes
// what it reads literally, as scp does.
package scp

import "fmt"

const (
	// maxName limits the name in a record, in bytes. File systems end at 255; OpenSSH may write up to four for one.
	maxName = 1 << 10
	// maxLine limits a line, in bytes: a name, or a message of OpenSSH with a whole path in it.
	maxLine = 4<<10 + maxName
	// maxDepth limits how deep directories lie in each other.
	maxDepth = 256
	// maxTime is the end of the year 9999, in seconds since 1970.
	maxTime = 253402300799
	// chunk is how much content is moved at a time: what fits into one packet of SSH.
	chunk = 32 << 10
)

// Warning is what the remote side says about one file or directory that it could not read or write. The others are not
// affected.
type Warning struct {
	// Text is as the remote side wrote it, without the newline, and at most 5 KiB. It may hold any bytes.
	Text string
}

// Error implements [error].
func (w *Warning) Error() string { return w.Text }

// FatalError is what the remote side says before it gives up.
type FatalError struct {
	// Text is as in [Warning].
	Text string
}

// Error implements [error].
func (e *FatalError) Error() string { return e.Text }

// ProtocolError says that the remote side does not follow the protocol: no scp answers there, or a hostile one.
type ProtocolError struct {
	// What is what was wrong. What the remote side wrote is quoted in it and cut.
	What string
}

// Error implements [error].
func (e *ProtocolError) Error() string { return "the remote scp broke the protocol: " + e.What }

func broken(format string, args ...any) error {
	return &ProtocolError{fmt.Sprintf(format, args...)}
}

// ContentError says that a local file could not be read as far as its record said. The remote side has got zeros for the
// rest, and word of it.
type ContentError struct {
	Sent int64 // bytes that were sent before the zeros
	Err  error // [io.ErrUnexpectedEOF] if the content was shorter than said
}

// Error implements [error].
func (e *ContentError) Error() string {
	return fmt.Sprintf("read the content after %d bytes: %v", e.Sent, e.Err)
}

// Unwrap returns the cause.
func (e *ContentError) Unwrap() error { return e.Err }

// NameError says that a name cannot be sent, or must not be taken.
type NameError struct {
	Name string
	Why  string
}

// Error implements [error].
func (e *NameError) Error() string { return fmt.Sprintf("name %q: %s", e.Name, e.Why) }
