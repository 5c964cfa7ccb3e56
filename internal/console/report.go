package console

import (
	"bytes"
	"strconv"
)

// scanner finds the reports of the shell in a stream. There are three, each after a sentinel:
//
//	SENTINEL(LINE>               the line begins
//	SENTINEL=LINE:STATUS>        the line has ended; its output on this stream is complete
//	SENTINEL<LINE:ENDED:STATUS>  the shell waits for a line. ENDED is the last line whose end
//	                             was reported; if it is not LINE, LINE was interrupted
//
// A host can forge reports, but only about its own lines.
type scanner struct {
	sentinel    []byte
	held        []byte // the end of the stream so far, which may begin a report
	holdNewline bool   // a newline at the end is held too: an interrupted shell writes it before the prompt
}

// report is a report of the shell.
type report struct {
	kind        byte
	line, ended uint64
	status      int // at the end of line 0, the process ID of the shell
}

// The kinds of reports, as the shell writes them.
const (
	lineBegins = '('
	lineEnded  = '='
	prompt     = '<'
)

// longestReport is the number of bytes that may follow the sentinel.
const longestReport = 48

// feed takes the next bytes. It calls output and found in the order of the stream. The bytes given
// to output are valid during the call.
func (s *scanner) feed(data []byte, output func([]byte), found func(report)) {
	if len(s.held) > 0 {
		data = append(s.held, data...)
		s.held = nil
	}
	for {
		at := bytes.Index(data, s.sentinel)
		if at < 0 {
			break
		}
		r, rest, complete := parseReport(data[at+len(s.sentinel):])
		switch {
		case !complete:
			s.hold(data, at, output)
			return
		case r == nil: // not a report
			give(data[:at+len(s.sentinel)], output)
			data = data[at+len(s.sentinel):]
		default:
			before := data[:at]
			if s.holdNewline && r.kind == prompt {
				before = bytes.TrimSuffix(before, newline)
			}
			give(before, output)
			found(*r)
			data = rest
		}
	}
	s.hold(data, len(data)-s.beginning(data), output)
}

var newline = []byte("\n")

// beginning returns how many bytes at the end of data may be the beginning of a sentinel.
func (s *scanner) beginning(data []byte) int {
	for n := min(len(s.sentinel)-1, len(data)); n > 0; n-- {
		if bytes.HasSuffix(data, s.sentinel[:n]) {
			return n
		}
	}
	return 0
}

// hold keeps data[from:] until more data comes.
func (s *scanner) hold(data []byte, from int, output func([]byte)) {
	if s.holdNewline && from > 0 && data[from-1] == '\n' {
		from--
	}
	give(data[:from], output)
	s.held = bytes.Clone(data[from:])
}

// flush gives what is held at the end of the stream.
func (s *scanner) flush(output func([]byte)) {
	give(s.held, output)
	s.held = nil
}

func give(data []byte, output func([]byte)) {
	if len(data) > 0 {
		output(data)
	}
}

// parseReport parses what follows a sentinel. It returns nil if that is not a report. complete is
// false if more bytes are needed to decide.
func parseReport(data []byte) (r *report, rest []byte, complete bool) {
	if len(data) == 0 {
		return nil, nil, false
	}
	numbers := map[byte]int{lineBegins: 1, lineEnded: 2, prompt: 3}[data[0]]
	if numbers == 0 {
		return nil, nil, true
	}
	var values [3]uint64
	at := 1
	for i := range numbers {
		end := at
		for end < len(data) && '0' <= data[end] && data[end] <= '9' {
			end++
		}
		if end == len(data) {
			return nil, nil, end > longestReport
		}
		separator := byte(':')
		if i == numbers-1 {
			separator = '>'
		}
		value, err := strconv.ParseUint(string(data[at:end]), 10, 48)
		if err != nil || data[end] != separator {
			return nil, nil, true
		}
		values[i] = value
		at = end + 1
	}
	return &report{kind: data[0], line: values[0], ended: values[1], status: int(values[numbers-1])}, data[at:], true
}
