package sshconfig

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"time"
)

// execTimeout bounds a command of Match exec.
const execTimeout = 10 * time.Second

// execs runs the commands of Match exec, each once.
type execs struct {
	run func(ctx context.Context, line string) (bool, error)

	mu   sync.Mutex // protects what follows
	done map[string]func() (bool, error)
}

// holds returns whether a command exits with 0. It runs each command line once; concurrent callers
// share the result.
func (e *execs) holds(ctx context.Context, line string) (bool, error) {
	e.mu.Lock()
	if e.done == nil {
		e.done = make(map[string]func() (bool, error))
	}
	answer := e.done[line]
	if answer == nil {
		answer = sync.OnceValues(func() (bool, error) { return e.run(ctx, line) })
		e.done[line] = answer
	}
	e.mu.Unlock()
	return answer()
}

// shell runs a line in the user's shell, and reports whether it exits with 0.
func shell(ctx context.Context, line string) (bool, error) {
	return shellWithin(ctx, execTimeout, line)
}

func shellWithin(parent context.Context, timeout time.Duration, line string) (bool, error) {
	ctx, cancel := context.WithTimeout(parent, timeout)
	defer cancel()
	name, flag := os.Getenv("SHELL"), "-c"
	switch {
	case runtime.GOOS == "windows":
		name, flag = "cmd.exe", "/c"
	case name == "":
		name = "/bin/sh"
	}
	cmd := exec.CommandContext(ctx, name, flag, line) // without input and output
	killGroup(cmd)
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	if parent.Err() != nil {
		return false, context.Cause(parent)
	}
	if ctx.Err() != nil {
		return false, fmt.Errorf("the command took longer than %v", timeout)
	}
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.Exited() {
		return false, nil
	}
	return err == nil, err
}
