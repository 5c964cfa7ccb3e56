package tty

// escapes finds the keys that are not meant for the host, as ssh does: "~" after a newline, and the
// key that follows. The zero value is at the beginning of a line.
type escapes struct {
	midLine bool // a line
	tilde   bool // the last one was "~", behind a line end
}

// typed is what a number of keys mean.
type typed struct {
	send       []byte // for the host
	help       bool   // wanted
	disconnect bool   // the session, at once; later keys are dropped
}

// parse returns what the next keys mean.
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
const escapeHelp = "\r\nBehind a line end:\r\n ~.  leaves the session\r\n ~~  is a ~\r\n ~?  shows this\r\n"
