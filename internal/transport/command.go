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
	// Line is run by the user's shell ($SHELL, or /bin/sh if that is not set) with "exec"
	// before it. The tokens %h, %p, %r, %n and %% are replaced, as in ProxyCommand of
	// ssh_config(5): by the host and the port of the address, User, Host, and a percent sign.
	Line string

	// User is the login name, for %r, and Host the name of the host as the user wrote it, such
	// as an alias, for %n. If they are empty, those in the [Trace] of the call are used. The
	// default of Host is the host of the address. User and Alias of fleetssh.ProxyCommand set
	// them; for other commands, package dial sets the Trace.
	User, Host string

	// PassesDescriptor says that the program does not relay the bytes. It makes a connection,
	// passes the descriptor over its standard output (SCM_RIGHTS) and exits, as with
	// ProxyUseFdpass of ssh_config(5).
	PassesDescriptor bool

	// Terminal, if not nil, lets the program use the terminal of this process.
	Terminal Terminal
}

// Dial returns a dial function that runs the program.
//
// The value of a token is one word for the shell, quoted if necessary. The dial function fails if a
// value begins with "-", or would need quoting within quotes of the line, which cannot be done
// safely. It also fails for the characters that ssh refuses, because the line may pass the value to
// another shell: quotes, brackets, ";&<>|" and control characters.
//
// Without a Terminal, the process runs in its own session, so that asking for a password fails
// instead of waiting. With one, see [Terminal]. In both cases, the process gets no signals of the
// terminal, so that Ctrl-C does not end it before this process. It inherits only the connection and
// a pipe for standard error. If the connection ends before anything was read, the error contains
// the last 4 KiB of standard error.
//
// The dial function returns when the process has started or, if the process passes a descriptor,
// when the descriptor has arrived. Only the first read tells whether the process has connected.
// Closing the connection closes the input of the process and waits for its end. If the process is
// still running after a quarter of a second, it and its children get SIGHUP, and SIGKILL one second
// later.
//
// Dial fails if the line contains an unknown token, and on systems other than Unix. Errors of the
// dial function, and of the connection before anything was read, are an [*Error].
func (p Program) Dial() (DialFunc, error) {
	if !commandsWork {
		return nil, fmt.Errorf("proxy command: %w on this system", errors.ErrUnsupported)
	}
	if strings.TrimSpace(p.Line) == "" {
		return nil, errors.New("proxy command: it is empty")
	}
	c := &command{p}
	// With any values, expand fails if there are unknown tokens.
	if _, err := c.expand(map[string]string{"h": "h", "p": "p", "r": "r", "n": "n"}); err != nil {
		return nil, fmt.Errorf("proxy command: %w", err)
	}
	return c.dial, nil
}

// A Trace in the context of a dial function observes a [Program]. Its functions may be nil.
type Trace struct {
	User, Host string // for %r and %n, if the Program does not set them

	// Started is called when the process has started. Heard is called, on any goroutine, when
	// its first byte has been read.
	Started, Heard func()

	// Asking is called before the program gets the terminal, and done when it no longer has it.
	Asking func() (done func())
}

type traceKey struct{}

// WithTrace returns a context with a trace.
func WithTrace(ctx context.Context, t *Trace) context.Context {
	return context.WithValue(ctx, traceKey{}, t)
}

// TraceOf returns the trace in a context, with functions that are not nil.
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

// name returns the name of the command for errors. It does not contain the line, which may contain
// a password.
func (c *command) name() string {
	program := strings.Fields(c.Line)[0]
	if strings.Contains(program, "=") { // a variable, whose value may be a password
		return "command"
	}
	return "command " + harmless(path.Base(program), 60)
}

// expand returns the line with the tokens replaced.
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
			return "", fmt.Errorf("unknown token %q; use %%h, %%p, %%r, %%n or %%%%", "%"+harmless(after, 1))
		}
		word, err := q.word(value)
		if err != nil {
			return "", fmt.Errorf("%%%s is %q: %w", token, value, err)
		}
		b.WriteString(word)
		q.read("x")
	}
}

// quotes is the state of the shell's quoting at a position in a line.
type quotes struct {
	open    byte // the open quote: ', " or `; 0 outside of quotes
	escaped bool // the last character was a backslash
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

// word returns a value quoted for the current position in the line. It returns an error for a value
// that cannot be quoted there, or that a program could take for an option.
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
			return "", fmt.Errorf("%q is not allowed in a command line", r)
		case !plain:
			strange = r
		}
	}
	switch {
	case strange < 0:
		return value, nil
	case q.open != 0 || q.escaped:
		return "", fmt.Errorf("%q is not allowed within quotes of a command line", strange)
	}
	return shellquote.Quote(value), nil
}
