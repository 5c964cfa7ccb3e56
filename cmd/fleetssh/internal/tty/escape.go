package tty

// escapes finds the escapes of ssh among the keys: "~" after a newline, and the key that follows. The
// zero value is at the beginning of a line.
type escapes struct {
	midLine bool // not at the beginning of a line
	tilde   bool // the last key was "~", after a newline
}

// typed is the meaning of some keys.
type typed struct {
	send       []byte // to the host
	help       bool   // the list of escapes is wanted
	disconnect bool   // at once; later keys are dropped
}

// parse returns the meaning of the next keys.
func (e *escapes) parse(keys []byte) typed {
	var t typed
	for _, key := range keys {
		if !e.tilde && !e.midLine && key == '~' {
			e.tilde = true
			continue
		}
		if e.tilde {
			e.tilde = false
			switch key {
			case '.':
				t.disconnect = true
				return t
			case '?':
				t.help = true
				continue
			case '~':
				e.midLine = true
				t.send = append(t.send, '~')
				continue
			}
			t.send = append(t.send, '~')
		}
		t.send = append(t.send, key)
		e.midLine = key != '\r' && key != '\n'
	}
	return t
}

// escapeHelp is shown on a raw terminal.
const escapeHelp = "\r\nAfter a newline:\r\n ~.  disconnects\r\n ~~  sends a ~\r\n ~?  shows this list\r\n"
