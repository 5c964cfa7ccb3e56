package simfleet

import (
	"context"
	"io"
	"maps"
	"strings"
)

// prompt is sh -i without a terminal: it writes PS1 to stderr before every line, and INT ends the
// line but not the shell. Quotes may span several lines.
func (sh *shell) prompt() Status {
	signals := sh.session.Signals()
	for sh.ended == nil {
		io.WriteString(sh.streams.stderr, sh.expandText(sh.vars["PS1"]))
		text, err := readWhole(sh.streams.stdin)
		if err != nil {
			return Status{Code: sh.last}
		}
		for len(signals) > 0 {
			<-signals // the shell was waiting for a line, so there is nothing to interrupt
		}
		line, cancel := context.WithCancel(sh.session.context)
		interrupted := make(chan bool)
		go func() {
			found := false
			for {
				select {
				case signal := <-signals:
					if signal == "INT" {
						found = true
						cancel()
					}
				case <-line.Done():
					interrupted <- found
					return
				}
			}
		}()
		sh.line = line
		sh.run(text)
		cancel()
		if <-interrupted {
			io.WriteString(sh.streams.stderr, "\n")
			sh.last = 130
		}
		if sh.session.context.Err() != nil {
			return Status{Signal: "HUP"}
		}
	}
	return *sh.ended
}

// readWhole reads lines until their quotes are closed.
func readWhole(r io.Reader) (string, error) {
	text, err := readLine(r)
	for err == nil {
		_, wrong := parseLine(text)
		if wrong == nil || !strings.Contains(wrong.Error(), "Unterminated") {
			break
		}
		var more string
		more, err = readLine(r)
		text += "\n" + more
	}
	return text, err
}

// expandText expands the variables in text.
func (sh *shell) expandText(text string) string {
	var w word
	p := &lineParser{text: text + `"`}
	if p.doubleQuoted(&w) != nil {
		return text
	}
	return sh.expand(w)
}

// interrupted reports whether INT has ended the current line.
func (sh *shell) interrupted() bool { return sh.line != nil && sh.line.Err() != nil }

// context returns a context that ends with the current line.
func (sh *shell) context() context.Context {
	if sh.line != nil {
		return sh.line
	}
	return sh.session.context
}

// eval runs its arguments as a line of the same shell.
func eval(p *process) Status {
	saved := p.shell.streams
	p.shell.streams = p.streams
	defer func() { p.shell.streams = saved }()
	return p.shell.run(strings.Join(p.args[1:], " "))
}

// test is [ with the operators =, !=, -n and -z.
func test(p *process) Status {
	args := p.args[1:]
	if len(args) == 0 || args[len(args)-1] != "]" {
		return p.fail(2, "missing ]")
	}
	switch args = args[:len(args)-1]; {
	case len(args) == 2 && args[0] == "-n":
		return statusOf(args[1] != "")
	case len(args) == 2 && args[0] == "-z":
		return statusOf(args[1] == "")
	case len(args) == 3 && args[1] == "=":
		return statusOf(args[0] == args[2])
	case len(args) == 3 && args[1] == "!=":
		return statusOf(args[0] != args[2])
	}
	return p.fail(2, "only -n, -z, = and != are supported")
}

func statusOf(ok bool) Status {
	if ok {
		return Status{}
	}
	return Status{Code: 1}
}

func unset(p *process) Status {
	for _, name := range p.args[1:] {
		delete(p.shell.vars, name)
	}
	return Status{}
}

// duplicate makes descriptor fd, 3 to 9, a duplicate of a stream; nil closes it.
func (s *streams) duplicate(fd int, to io.Writer) {
	more := maps.Clone(s.more)
	if more == nil {
		more = make(map[int]io.Writer)
	}
	more[fd] = to
	s.more = more
}
