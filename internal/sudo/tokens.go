package sudo

import (
	"fleetssh/internal/mark"
)

// Tokens are what sudo's question, and the start of the command behind it, are known
// by in the output. What is sent to the host does not hold them as they are written
// there, so no trace of the command line and no refusal that quotes it is taken for
// one.
type Tokens struct {
	prompt  mark.Mark
	started mark.Mark // zero if nobody answers
}

// NewTokens returns new tokens. answering says that somebody will answer the
// question, and has to know when it can no longer come.
func NewTokens(answering bool) *Tokens {
	t := &Tokens{prompt: mark.New()}
	if answering {
		t.started = mark.New()
	}
	return t
}

// Answering reports whether somebody will answer the question.
func (t *Tokens) Answering() bool { return t.started != mark.Mark{} }

// Prompt returns what sudo is given with -p. Every sudo, and sudo-rs, makes one
// percent sign of two.
func (t *Tokens) Prompt() string { return t.prompt.Escaped() }

// Starter returns a script for sh -c that says that sudo is done, and then runs its
// own arguments, from $0 on. It is empty unless somebody answers. No quote is in it,
// so that quoting it once leaves it readable.
func (t *Tokens) Starter() string {
	if !t.Answering() {
		return ""
	}
	return "printf " + t.started.Escaped() + ` >&2; exec "$0" "$@"`
}

// quotes returns the texts by which somebody quotes the command line, the longest
// first: they are no output of the command.
func (t *Tokens) quotes() []string {
	prompt := t.Prompt()
	texts := []string{" -S -p '" + prompt + "'", " -S -p " + prompt}
	if t.Answering() {
		starter := t.Starter()
		for _, sh := range []string{"/usr/bin/sh", "/bin/sh", "sh"} {
			texts = append(texts, sh+" -c "+starter+" ") // as sudo joins the words
		}
		texts = append(texts, "sh -c '"+starter+"' ") // as shells trace them
		texts = append(texts, t.started.Traces()...)
	}
	return append(texts, t.prompt.Traces()...)
}
