// Package scp implements the SCP protocol, which comes from rcp, in both directions. A [Source]
// sends files to a remote "scp -t", a [Sink] receives them from a remote "scp -f", and a [Command]
// is the command line that starts them. The package knows neither SSH nor file systems: it reads
// from an [io.Reader] and writes to an [io.Writer], and it stops when these end.
//
// No document describes the protocol. It is what scp.c of OpenSSH does, measured with OpenSSH 9.2.
// A record is a line:
//
//	T1795205533 0 1795205533 0   times of the next record in s and µs: modification, access
//	C0644 5 name                 a file; its 5 bytes follow, and then a status
//	D0755 0 name                 the beginning of a directory
//	E                            the end of a directory
//
// The receiver answers each record, and the end of each file, with a status: 0 means success, 1 and
// a line is a warning (this file failed, the others go on), 2 and a line is a fatal error. A
// warning of the source may also take the place of a record.
//
// Names are sent unescaped up to the end of the line, so a name with a newline cannot be sent.
// OpenSSH sends such a file as "a\^Jb" and leaves it under that name, which another file may have.
// A Source refuses these names. A Sink takes the names it reads literally, as scp does.
package scp

import "fmt"

const (
	// maxName limits the name in a record, in bytes. File systems allow 255; OpenSSH may write up
	// to four bytes for one.
	maxName = 1 << 10
	// maxLine limits a line, in bytes. A line holds a name, or a message of OpenSSH with a path.
	maxLine = 4<<10 + maxName
	// maxDepth limits the nesting of directories.
	maxDepth = 256
	// maxTime is the end of the year 9999, in seconds since 1970.
	maxTime = 253402300799
	// chunk is how many bytes of content are copied at once: what fits into one packet of SSH.
	chunk = 32 << 10
)

// Warning is a message of the remote side about one file or directory that it could not read or
// write. The others are not affected.
type Warning struct {
	// Text is what the remote side wrote, without the newline: at most 5 KiB of any bytes.
	Text string
}

// Error implements [error].
func (w *Warning) Error() string { return w.Text }

// FatalError is the message with which the remote side ended the transfer.
type FatalError struct {
	// Text is as in [Warning].
	Text string
}

// Error implements [error].
func (e *FatalError) Error() string { return e.Text }

// ProtocolError means that the remote side does not follow the protocol: it is not scp, or a
// hostile one.
type ProtocolError struct {
	// What says what was wrong. Text of the remote side is quoted in it and cut.
	What string
}

// Error implements [error].
func (e *ProtocolError) Error() string { return "the remote scp broke the protocol: " + e.What }

func broken(format string, args ...any) error {
	return &ProtocolError{fmt.Sprintf(format, args...)}
}

// ContentError means that a local file had less content than its record announced, or could not be
// read. The remote side got zeros for the rest, and was told so.
type ContentError struct {
	Sent int64 // bytes that were sent before the zeros
	Err  error // [io.ErrUnexpectedEOF] if the content was too short
}

// Error implements [error].
func (e *ContentError) Error() string {
	return fmt.Sprintf("read the content after %d bytes: %v", e.Sent, e.Err)
}

// Unwrap returns the cause.
func (e *ContentError) Unwrap() error { return e.Err }

// NameError means that a name cannot be sent or must not be accepted.
type NameError struct {
	Name string
	Why  string
}

// Error implements [error].
func (e *NameError) Error() string { return fmt.Sprintf("name %q: %s", e.Name, e.Why) }
