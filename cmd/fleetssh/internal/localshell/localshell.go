// Package localshell runs command lines of the user on this machine.
package localshell

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"time"

	"fleetssh/cmd/fleetssh/internal/termline"
)

// Command is a line for the shell: /bin/sh, or cmd.exe on Windows.
type Command struct {
	Line  string
	Env   []string  // variables besides ours
	Stdin io.Reader // nil: no input
	Limit int       // bytes of output, both streams together; more of it ends the command

	// Stderr gets standard error. Nil means that it belongs to the output.
	Stderr io.Writer
}

// errTooLong means that a command has written more than its limit.
var errTooLong = errors.New("the output is too long")

// Run runs the command and returns its output, also if it fails. When ctx ends, it kills the command;
// without a controlling terminal, it kills everything that the command has started as well. With a
// terminal, the command stays in our process group, so that it can ask there.
//
// A process that the command leaves behind may hold its output open: Run waits a second for it.
func (c *Command) Run(ctx context.Context) ([]byte, error) {
	name, flag := "/bin/sh", "-c"
	if runtime.GOOS == "windows" {
		name, flag = "cmd.exe", "/c"
	}
	out := &output{limit: c.Limit}
	cmd := exec.CommandContext(ctx, name, flag, c.Line)
	cmd.Env = append(os.Environ(), c.Env...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = c.Stdin, out, c.Stderr
	if c.Stderr == nil {
		cmd.Stderr = out // exec uses one pipe for both, so writes do not overlap
	}
	cmd.WaitDelay = time.Second
	if !termline.HasTerminal() {
		killGroup(cmd)
	}
	err := cmd.Run()
	switch {
	case ctx.Err() != nil:
		err = context.Cause(ctx)
	case out.tooLong:
		err = fmt.Errorf("stopped, because it wrote more than %d bytes", c.Limit)
	case errors.Is(err, exec.ErrWaitDelay): // the command itself has exited with 0
		err = nil
	}
	return out.bytes, err
}

// output keeps the output of a command.
type output struct {
	bytes   []byte
	limit   int
	tooLong bool
}

// Write implements [io.Writer]. Its error closes the pipe, which ends the command.
func (o *output) Write(p []byte) (int, error) {
	room := o.limit - len(o.bytes)
	o.bytes = append(o.bytes, p[:min(room, len(p))]...)
	if len(p) > room {
		o.tooLong = true
		return 0, errTooLong
	}
	return len(p), nil
}
