package sudo

import (
	"fleetssh/internal/sentinel"
)

// Sentinels are the texts by which a [Filter] recognizes sudo's question and the start of the
// command in the output.
type Sentinels struct {
	prompt  sentinel.Text
	started sentinel.Text // zero if nobody answers
}

// NewSentinels returns new sentinels. answering says that the program answers the question, and so
// must know when sudo can no longer ask it.
func NewSentinels(answering bool) *Sentinels {
	s := &Sentinels{prompt: sentinel.New()}
	if answering {
		s.started = sentinel.New()
	}
	return s
}

// Answering reports whether the program answers the question.
func (s *Sentinels) Answering() bool { return s.started != sentinel.Text{} }

// Prompt returns the argument of sudo -p. sudo and sudo-rs print "%" for "%%".
func (s *Sentinels) Prompt() string { return s.prompt.Escaped() }

// Starter returns a script for sh -c that reports the start of the command and then runs its own
// arguments, from $0 on. It contains no quotes, so it stays readable when it is quoted. It is empty
// unless the program answers the question.
func (s *Sentinels) Starter() string {
	if !s.Answering() {
		return ""
	}
	return "printf " + s.started.Escaped() + ` >&2; exec "$0" "$@"`
}

// quotes returns the texts by which to recognize a quoted command line, the longest first. They are
// not output of the command.
func (s *Sentinels) quotes() []string {
	prompt := s.Prompt()
	texts := []string{" -S -p '" + prompt + "'", " -S -p " + prompt}
	if s.Answering() {
		starter := s.Starter()
		for _, sh := range []string{"/usr/bin/sh", "/bin/sh", "sh"} {
			texts = append(texts, sh+" -c "+starter+" ") // as sudo joins the words
		}
		texts = append(texts, "sh -c '"+starter+"' ") // as shells trace them
		texts = append(texts, s.started.Traces()...)
	}
	return append(texts, s.prompt.Traces()...)
}
