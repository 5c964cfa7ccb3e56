package selection

import (
	"context"
	"fmt"
	"io"
	"os"

	"golang.org/x/term"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/termline"
)

// Env is what the flags need from the program.
type Env struct {
	In           io.Reader // standard input
	Screen       *termline.Screen
	Ask          func(ctx context.Context, prompt string, echo bool) (string, error)
	Warn         func(text, host string)                             // warns the user about a host, or in general if host is empty
	Banner       func(host, text string)                             // shows a banner that a host sends while its login waits; nil: banners are not shown
	FlushBanners func()                                              // shows pending banners at once
	Origin       func(flag string) string                            // where the user's settings set a flag; empty: they do not
	Recorded     func(name string) (expr string, ok bool, err error) // the hosts of an earlier run, by a name such as "last:failed"

	// ConfirmKeys returns the function that asks the user whether to trust the keys of hosts that are
	// not known; nil: nothing is asked.
	ConfirmKeys func(hosts []Host) func(context.Context, fleetssh.NewHostKey) bool

	// Interrupt raises the interrupt that a program in the foreground has received.
	Interrupt func(ctx context.Context)

	// Redirect, if not nil, changes a host before it is used. Then the user's own files are not read, so
	// that the demo is the same everywhere.
	Redirect func(*Host)
}

// askSecret asks the user for a secret, which is not echoed.
func (e *Env) askSecret(ctx context.Context, prompt string) (string, error) {
	secret, err := e.Ask(ctx, prompt, false)
	if err != nil {
		return "", fmt.Errorf("%s%w", prompt, err)
	}
	if secret == "" {
		return "", fmt.Errorf("%snothing was given", prompt)
	}
	return secret, nil
}

// asker returns the function with which hosts ask the user. It is nil if the user cannot be asked.
func (e *Env) asker(quiet bool) func(context.Context, fleetssh.Question) (string, error) {
	in, ok := e.In.(*os.File)
	if quiet || !ok || !term.IsTerminal(int(in.Fd())) || !termline.HasTerminal() {
		return nil
	}
	return func(ctx context.Context, q fleetssh.Question) (string, error) {
		e.FlushBanners() // a banner may explain the question
		return e.Ask(ctx, questionText(q), q.Echo)
	}
}

// lender returns the function that lends the terminal to a proxy command. It is nil if the user cannot
// be asked. Interrupts end ctx.
func (e *Env) lender(ctx context.Context, quiet bool) func(context.Context, string) (*os.File, func(os.Signal), error) {
	if e.asker(quiet) == nil {
		return nil
	}
	return func(_ context.Context, host string) (*os.File, func(os.Signal), error) {
		tty, giveBack, err := e.Screen.Lend(host + ": its proxy command asks:")
		if err != nil {
			return nil, nil, err
		}
		return tty, func(ended os.Signal) {
			giveBack()
			if ended == os.Interrupt { // Ctrl-C reached only the program in the foreground
				e.Interrupt(ctx)
			}
		}, nil
	}
}
