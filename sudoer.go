package fleetssh

import (
	"errors"
	"io"
	"time"

	"fleetssh/internal/sudo"
)

// copyFiltered is copy for the stream on which sudo asks.
func (ch *Channel) copyFiltered(to *Output, from io.Reader, filter *sudo.Filter) {
	buf := make([]byte, 4<<10)
	for !filter.Off() {
		n, err := from.Read(buf)
		show, events := filter.Write(buf[:n])
		to.stream.Write(show)
		for _, e := range events {
			ch.sudoEvent(e)
		}
		if err != nil {
			to.stream.Write(filter.Close())
			return
		}
	}
	to.stream.ReadFrom(from)
}

// sudoEvent answers sudo, and lets the user's input pass when the command itself
// is there to read it.
func (ch *Channel) sudoEvent(e sudo.Event) {
	if ch.run.cmd.SudoPassword == nil {
		return // the user answers, on standard input
	}
	switch e {
	case sudo.Started:
		ch.input.open()
	case sudo.AskedAgain:
		ch.fail(errors.New("wrong password"))
		ch.client.spawn(ch.refuseSudo)
	case sudo.Asked:
		ch.client.spawn(ch.answerSudo)
	}
}

// answerSudo sends the password. It goes around Stdin, which waits.
func (ch *Channel) answerSudo() {
	password, err := ch.run.cmd.SudoPassword(ch.context(), ch.client.host)
	if err == nil {
		_, err = ch.raw.Write([]byte(password + "\n"))
	}
	if err != nil {
		ch.fail(err)
		ch.refuseSudo()
	}
}

// refuseSudo tells sudo that no password comes. The end of the input does not
// reach a terminal: there it takes the character for it. If sudo does not end all
// the same, the session does.
func (ch *Channel) refuseSudo() {
	if ch.run.cmd.PTY != nil {
		_, _ = ch.raw.Write([]byte{4}) // the wait below ends in any case
	}
	ch.raw.CloseWrite()
	if !ch.waitEnd(ch.context(), sudoGrace) {
		ch.end(Outcome{Kind: Lost}, nil)
	}
}

// sudoGrace is how long sudo may take to end when it gets no password: it delays
// the answer to a wrong one by about two seconds.
const sudoGrace = 5 * time.Second

// fail notes why the command never ran, to be told when the session ends.
func (ch *Channel) fail(err error) {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	if ch.failure == nil {
		ch.failure = ch.sudoError(err)
	}
}

func (ch *Channel) sudoError(err error) error {
	return &SessionError{Host: ch.client.host.name(), Port: ch.client.host.port(), Op: "sudo", Err: err}
}
