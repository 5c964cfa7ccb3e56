// Package dshbak groups lines such as "web1: text" by host.
package dshbak

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
)

// MaxLine is how long a line may be, in bytes.
const MaxLine = 16 << 20

const (
	maxHosts    = 1 << 17
	bufferLimit = 4 << 20 // bytes that wait to be written to files
)

// A Sink receives the lines of all hosts: for the screen ([Blocks]) or for files ([Files]).
type Sink interface {
	Line(host string, text []byte) error
	End() error // after the last line
	Close() error
}

// Read calls line for each line that has a label, with the host that wrote it. It reads the file
// name, or in if name is "-".
func Read(in io.Reader, name string, line func(host string, text []byte) error) error {
	if name == "-" {
		name = "standard input"
	} else {
		file, err := os.Open(name)
		if err != nil {
			return err
		}
		defer file.Close()
		in = file
	}
	lines := bufio.NewScanner(in)
	lines.Buffer(make([]byte, 64<<10), MaxLine)
	lines.Split(scanRawLines)
	for lines.Scan() {
		host, text, ok := cutLabel(lines.Bytes())
		if !ok {
			continue
		}
		if err := line(host, text); err != nil {
			return err
		}
	}
	switch err := lines.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		return fmt.Errorf("%s: a line of more than %d MiB", name, MaxLine>>20)
	case err != nil:
		return fmt.Errorf("read %s: %w", name, err)
	}
	return nil
}

// scanRawLines is bufio.ScanLines, but keeps carriage returns.
func scanRawLines(data []byte, atEOF bool) (int, []byte, error) {
	if i := bytes.IndexByte(data, '\n'); i >= 0 {
		return i + 1, data[:i], nil
	}
	if atEOF && len(data) > 0 {
		return len(data), data, nil
	}
	return 0, nil, nil
}

// cutLabel splits "host: text". If the first word ends with a colon, the rest of that word is the
// host, which may have a port or be an IPv6 address. Otherwise the host ends at the first colon, and
// white space may stand before it.
func cutLabel(line []byte) (host string, text []byte, ok bool) {
	line = bytes.TrimLeft(line, " \t\r\f\v")
	word := line
	if i := bytes.IndexAny(line, " \t\r\f\v"); i >= 0 {
		word = line[:i]
	}
	rest := line[len(word):]
	switch i := bytes.IndexByte(word, ':'); {
	case len(word) > 1 && word[len(word)-1] == ':':
		host = string(word[:len(word)-1])
	case i > 0:
		host, rest = string(word[:i]), line[i+1:]
	case i < 0:
		after := bytes.TrimLeft(rest, " \t\r\f\v")
		if len(after) == 0 || after[0] != ':' || len(word) == 0 {
			return "", nil, false
		}
		host, rest = string(word), after[1:]
	default:
		return "", nil, false
	}
	return host, bytes.TrimPrefix(rest, []byte(" ")), true
}

func tooManyHosts() error { return fmt.Errorf("lines of more than %d hosts", maxHosts) }
