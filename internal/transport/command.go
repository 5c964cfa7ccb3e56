package transport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path"
	"strings"
	"unicode"
)

// Names are what a proxy command may be told besides the address.
type Names struct {
	// User is the login name on the host, for %r.
	User string

	// Host is the name of the host as the user wrote it, for %n: an alias, say.
	// Empty means that of the address.
	Host string
}

// Command returns a dial function that runs a line in the user's shell ($SHELL, or
// else /bin/sh), with "exec" before it: its standard input and output are the
// connection. In the line, %h stands for the name or address of the host, %p for
// the port, %r and %n for what names holds, and %% for "%", as with ProxyCommand in
// ssh_config(5).
//
// The values are put into the line as they are. One that holds anything else than
// letters, digits and "._-:%@+,", or begins with "-", is refused: quoting could not
// be right both inside and outside of quotes of the line.
//
// The process has a session of its own: no terminal, so that what asks there fails
// and does not wait, and no signals from one, so that Ctrl-C does not end it before
// us. Of our descriptors it has no others than the connection, and a pipe for
// standard error, of which the last 4 KiB are part of the error if the connection
// ends before anything was read.
//
// The dial function returns when the process has been started; whether it has
// connected to anything, the first read tells. Closing the connection closes the
// input of the process and waits for its end. After a quarter of a second it sends
// the process, and what that has started, SIGHUP, and after one second more SIGKILL.
//
// The error is for a line with an unknown token, and on systems without processes
// of this kind, such as Windows. Errors of the dial function, and of the
// connection before anything was read, are of type [*Error].
func Command(line string, names Names) (DialFunc, error) {
	if !commandsWork {
		return nil, fmt.Errorf("proxy command: %w on this system", errors.ErrUnsupported)
	}
	c := &command{line: line, names: names}
	if strings.TrimSpace(line) == "" {
		return nil, errors.New("proxy command: it is empty")
	}
	// Whether it can be expanded does not depend on the address.
	if _, err := c.expand("host", "22"); err != nil {
		return nil, fmt.Errorf("proxy command: %w", err)
	}
	return c.dial, nil
}

// command is a line to run.
type command struct {
	line  string
	names Names
}

// dial is the [DialFunc].
func (c *command) dial(ctx context.Context, _, addr string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, newError(c.name(), addr, errTarget{err})
	}
	line, err := c.expand(host, port)
	if err != nil {
		return nil, newError(c.name(), addr, errTarget{err})
	}
	if ctx.Err() != nil {
		return nil, newError(c.name(), addr, context.Cause(ctx))
	}
	conn, err := startProcess(line, c.name(), addr)
	if err != nil {
		return nil, newError(c.name(), addr, err)
	}
	return conn, nil
}

// name is what errors call the command. The line is not shown: it may hold a
// password.
func (c *command) name() string {
	return "command " + harmless(path.Base(strings.Fields(c.line)[0]), 60)
}

// expand replaces the tokens.
func (c *command) expand(host, port string) (string, error) {
	name := c.names.Host
	if name == "" {
		name = host
	}
	var b strings.Builder
	for rest := c.line; ; {
		before, after, found := strings.Cut(rest, "%")
		b.WriteString(before)
		if !found {
			return b.String(), nil
		}
		if after == "" {
			return "", errors.New(`"%" at the end; "%%" stands for "%"`)
		}
		token, value := after[:1], ""
		switch token {
		case "%":
			b.WriteString("%")
			rest = after[1:]
			continue
		case "h":
			value = host
		case "p":
			value = port
		case "r":
			value = c.names.User
		case "n":
			value = name
		default:
			return "", fmt.Errorf("the token %q is none of %%h %%p %%r %%n %%%%", "%"+harmless(after, 1))
		}
		if err := checkValue(value); err != nil {
			return "", fmt.Errorf("%%%s is %q: %w", token, value, err)
		}
		b.WriteString(value)
		rest = after[1:]
	}
}

// checkValue refuses what a shell, or a program that reads options, might take for
// more than a word.
func checkValue(value string) error {
	if value == "" {
		return errors.New("it is empty")
	}
	if value[0] == '-' {
		return errors.New(`it begins with "-"`)
	}
	for _, r := range value {
		plain := unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune("._-:%@+,", r)
		if !plain || r == unicode.ReplacementChar {
			return fmt.Errorf("%q may not stand in a command line", r)
		}
	}
	return nil
}
