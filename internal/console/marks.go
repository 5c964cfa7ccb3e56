package console

import (
	"bytes"
	"strconv"
)

// marks finds in a stream what the shell reports. There are three reports, each after a random
// token that no other output holds:
//
//	TOKEN(LINE>               the line begins
//	TOKEN=LINE:STATUS>        the line has ended; its output on this stream is complete
//	TOKEN<LINE:ENDED:STATUS>  the shell waits for a line. ENDED is the last line whose end
//	                          was reported; if LINE is more, it was interrupted
//
// A host can forge reports. It can only lie about its own lines.
type marks struct {
	token []byte
	held  []byte // the beginning of a mark, perhaps; at most longestMark bytes
	hold  bool   // a newline at the end is held too: it may belong to a mark
}

// said is one report.
type said struct {
	kind        byte
	line, ended uint64
	status      int // for the end of line 0, the number of the shell's process
}

// The kinds of reports, as they are written.
const (
	beginMark  = '('
	endMark    = '='
	promptMark = '<'
)

// longestMark is how many bytes may follow the token.
const longestMark = 48

// feed takes the next bytes and calls text for output and found for reports, in order. The
// bytes given to text are valid during the call.
func (m *marks) feed(data []byte, text func([]byte), found func(said)) {
	if len(m.held) > 0 {
		data = append(m.held, data...)
		m.held = nil
	}
	for {
		at := bytes.Index(data, m.token)
		if at < 0 {
			break
		}
		say, rest, complete := parseMark(data[at+len(m.token):])
		switch {
		case !complete:
			m.keep(data, at, text)
			return
		case say == nil: // only looks like one
			give(data[:at+len(m.token)], text)
			data = data[at+len(m.token):]
		default:
			before := data[:at]
			if m.hold && say.kind == promptMark {
				before = bytes.TrimSuffix(before, newline) // of the shell, for the eye
			}
			give(before, text)
			found(*say)
			data = rest
		}
	}
	m.keep(data, len(data)-m.begun(data), text)
}

var newline = []byte("\n")

// begun returns how many bytes at the end of data may be the beginning of a token.
func (m *marks) begun(data []byte) int {
	for n := min(len(m.token)-1, len(data)); n > 0; n-- {
		if bytes.HasSuffix(data, m.token[:n]) {
			return n
		}
	}
	return 0
}

// keep holds data[from:] until more comes.
func (m *marks) keep(data []byte, from int, text func([]byte)) {
	if m.hold && from > 0 && data[from-1] == '\n' {
		from--
	}
	give(data[:from], text)
	m.held = bytes.Clone(data[from:])
}

// flush gives what is held at the end of the stream.
func (m *marks) flush(text func([]byte)) {
	give(m.held, text)
	m.held = nil
}

func give(data []byte, text func([]byte)) {
	if len(data) > 0 {
		text(data)
	}
}

// parseMark parses what follows a token. It returns nil if that is no report. complete is
// false if more bytes are needed to tell.
func parseMark(data []byte) (m *said, rest []byte, complete bool) {
	if len(data) == 0 {
		return nil, nil, false
	}
	numbers := map[byte]int{beginMark: 1, endMark: 2, promptMark: 3}[data[0]]
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
			return nil, nil, end > longestMark
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
	return &said{kind: data[0], line: values[0], ended: values[1], status: int(values[numbers-1])}, data[at:], true
}
