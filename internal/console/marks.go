package console

import (
	"bytes"
	"strconv"
)

// marks finds in a stream what the shell of a console says about itself. It says
// three things, behind a random token that is in no other output:
//
//	TOKEN(LINE>               the line begins
//	TOKEN=LINE:STATUS>        that is all that the line has written here
//	TOKEN<LINE:ENDED:STATUS>  the shell waits for a line. Up to ENDED, the ends of
//	                          lines have been said; if LINE is more, it was broken off
//
// A host can say these things when they are not true. It then lies about its own
// lines, and about nothing else.
type marks struct {
	token []byte
	held  []byte // the beginning of a mark, perhaps; at most longestMark bytes
	hold  bool   // a newline at the end is held too: it may belong to a mark
}

// said is one of them.
type said struct {
	kind        byte
	line, ended uint64
	status      int // for the end of line 0, the number of the shell's process
}

// The kinds of mark, as they are written.
const (
	beginMark  = '('
	endMark    = '='
	promptMark = '<'
)

// longestMark is how many bytes may stand behind the token.
const longestMark = 48

// feed takes what comes in and calls text for what is output, and found for marks,
// in their order. What is given to text is valid during the call.
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

// flush gives what is held, since nothing more comes.
func (m *marks) flush(text func([]byte)) {
	give(m.held, text)
	m.held = nil
}

func give(data []byte, text func([]byte)) {
	if len(data) > 0 {
		text(data)
	}
}

// parseMark reads what stands behind a token. It is not complete if more must come to
// tell; it is nil if it is no mark.
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
