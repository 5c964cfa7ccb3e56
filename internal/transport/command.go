package transport

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"path"
	"strings"
	"unicode"

	"fleetssh/internal/shellquote"
)

// A Program is a command whose standard input and output are a connection.
type Program struct {
	// Line is run by the user's shell ($SHELL, or else /bin/sh), with "exec" before
	// it. In it, %h stands for the name or address of the host, %p for the port, %r
	// and %n for what follows, and %% for "%", as with ProxyCommand in ssh_config(5).
	Line string

	// User is the login name on the host, for %r, and Host the name of the host as
	// the user wrote it, for %n: an alias, say. Where they are empty, the [Trace] of a
	// call says it, and without one %n is the host of the address.
	User, Host string

	// PassesDescriptor says that the program does not carry the bytes: it makes a
	// connection, passes the descriptor on its standard output (SCM_RIGHTS), and
	// ends, as with ProxyUseFdpass in ssh_config(5).
	PassesDescriptor bool

	// Terminal, if not nil, lets the program ask on the terminal of this process.
	Terminal Terminal
}

// Dial returns a dial function that runs the program.
//
// What stands for a token is one word for the shell, and means nothing else to it: it
// is quoted if it must be. A value is an error of the dial function if it would need
// that inside of quotes of the line, where none could be right; if it begins with "-";
// and if it holds what ssh refuses as well, because the line may give it to another
// shell: quotes, brackets, ";&<>|" and control characters.
//
// Without a Terminal, the process has a session of its own: what asks there fails and
// does not wait. With one see [Terminal]. In neither case does it get signals of the
// terminal, so that Ctrl-C does not end it before us. Of our descriptors it has no
// others than the connection, and a pipe for standard error, of which the last 4 KiB
// are part of the error if the connection ends before anything was read.
//
// The dial function returns when the process has been started, or, if it passes a
// descriptor, when that has come; whether the process has connected to anything, the
// first read tells. Closing the connection closes the input of the process and waits
// for its end. After a quarter of a second it sends the process, and what that has
// started, SIGHUP, and after one second more SIGKILL.
//
// The error is for a line with an unknown token, and on systems without processes
// of this kind, such as Windows. Errors of the dial function, and of the
// connection before anything was read, are of type [*Error].
func (p Program) Dial() (DialFunc, error) {
	if !commandsWork {
		return nil, fmt.Errorf("proxy command: %w on this system", errors.ErrUnsupported)
	}
	if strings.TrimSpace(p.Line) == "" {
		return nil, errors.New("proxy command: it is empty")
	}
	c := &command{p}
	// Whether the tokens are known does not depend on the values.
	if _, err := c.expand(map[string]string{"h": "h", "p": "p", "r": "r", "n": "n"}); err != nil {
		return nil, fmt.Errorf("proxy command: %w", err)
	}
	return c.dial, nil
}

// Command is [Program.Dial] for a line.
func Command(line string) (DialFunc, error) { return Program{Line: line}.Dial() }

// A Trace is told by a context what the dial function of a [Program] does. Its
// functions may be nil.
type Trace struct {
	User, Host string // for %r and %n, where the Program names none

	// Started is called when the process has been started, and Heard, on any goroutine,
	// when its first byte has been read, if one comes.
	Started, Heard func()

	// Asking is called when the program has the terminal, and what it returns when it
	// has it no more.
	Asking func() (done func())
}

type traceKey struct{}

// WithTrace returns a context with a trace.
func WithTrace(ctx context.Context, t *Trace) context.Context {
	return context.WithValue(ctx, traceKey{}, t)
}

// TraceOf returns the trace of a context, one that does nothing if there is none.
func TraceOf(ctx context.Context) Trace {
	t := Trace{}
	if given, ok := ctx.Value(traceKey{}).(*Trace); ok {
		t = *given
	}
	nothing := func() {}
	if t.Started == nil {
		t.Started = nothing
	}
	if t.Heard == nil {
		t.Heard = nothing
	}
	if t.Asking == nil {
		t.Asking = func() func() { return nothing }
	}
	return t
}

// command is a program to run.
type command struct{ Program }

// dial is the [DialFunc].
func (c *command) dial(ctx context.Context, _, addr string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, newError(c.name(), addr, errArgument{err})
	}
	trace := TraceOf(ctx)
	values := map[string]string{"h": host, "p": port, "r": cmp.Or(c.User, trace.User), "n": cmp.Or(c.Host, trace.Host, host)}
	line, err := c.expand(values)
	if err != nil {
		return nil, newError(c.name(), addr, errArgument{err})
	}
	if ctx.Err() != nil {
		return nil, newError(c.name(), addr, context.Cause(ctx))
	}
	p, err := c.start(ctx, line, addr, trace)
	if err != nil {
		return nil, newError(c.name(), addr, err)
	}
	if !c.PassesDescriptor {
		return p, nil
	}
	conn, err := p.passed(ctx)
	if err != nil {
		return nil, err
	}
	return conn, nil
}

// name is what errors call the command. The line is not shown: it may hold a
// password.
func (c *command) name() string {
	program := strings.Fields(c.Line)[0]
	if strings.Contains(program, "=") { // a variable: its value may be the password
		return "command"
	}
	return "command " + harmless(path.Base(program), 60)
}

// expand replaces the tokens.
func (c *command) expand(values map[string]string) (string, error) {
	var b strings.Builder
	var q quotes
	for rest := c.Line; ; {
		before, after, found := strings.Cut(rest, "%")
		b.WriteString(before)
		q.read(before)
		if !found {
			return b.String(), nil
		}
		if after == "" {
			return "", errors.New(`"%" at the end; "%%" stands for "%"`)
		}
		token := after[:1]
		rest = after[1:]
		if token == "%" {
			b.WriteString("%")
			q.read("%")
			continue
		}
		value, known := values[token]
		if !known {
			return "", fmt.Errorf("the token %q is none of %%h %%p %%r %%n %%%%", "%"+harmless(after, 1))
		}
		word, err := q.word(value)
		if err != nil {
			return "", fmt.Errorf("%%%s is %q: %w", token, value, err)
		}
		b.WriteString(word)
		q.read("x")
	}
}

// quotes knows what a shell makes of the next character of a line.
type quotes struct {
	open    byte // ', " or ` that is open; 0: none
	escaped bool // a backslash is in front
}

func (q *quotes) read(text string) {
	for i := range len(text) {
		switch c := text[i]; {
		case q.escaped:
			q.escaped = false
		case c == '\\' && q.open != '\'':
			q.escaped = true
		case q.open == c:
			q.open = 0
		case q.open == 0 && strings.IndexByte("'\"`", c) >= 0:
			q.open = c
		}
	}
}

// word returns a value as it stands in the line for itself. A program that reads
// options must not take it for one.
func (q *quotes) word(value string) (string, error) {
	if value == "" {
		return "", errors.New("it is empty")
	}
	if value[0] == '-' {
		return "", errors.New(`it begins with "-"`)
	}
	strange := rune(-1)
	for i, r := range value {
		switch plain := unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune("._-:%@+,/", r) || r == '=' && i > 0; {
		case unicode.IsControl(r) || r == unicode.ReplacementChar || strings.ContainsRune("'`\";&<>|(){}", r):
			return "", fmt.Errorf("%q may not stand in a command line", r)
		case !plain:
			strange = r
		}
	}
	switch {
	case strange < 0:
		return value, nil
	case q.open != 0 || q.escaped:
		return "", fmt.Errorf("%q may not stand in a command line inside of quotes", strange)
	}
	return shellquote.Quote(value), nil
}
