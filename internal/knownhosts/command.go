package knownhosts

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"fleetssh/internal/algorithms"
	"fleetssh/internal/deadline"
)

// A Command is a program that lists keys of hosts, by its absolute path, and its arguments:
// KnownHostsCommand of ssh_config(5). %f, %H, %I, %K, %t and %% are replaced.
type Command []string

// The limits of a Command.
const (
	maxCommands = 32 // running at a time
	maxListing  = 1 << 20
	maxTime     = 10 * time.Second
)

// The purposes of a Command, which are the values of %I.
const (
	ForOrder   = "ORDER"    // to know which keys to ask the host for
	ForHost    = "HOSTNAME" // to look up the key that the host has shown
	ForAddress = "ADDRESS"  // to look it up by the address of the host
)

// Check returns an error if the command cannot be run for a host.
func (c Command) Check(host string, port int) error {
	args, err := c.expand(ForOrder, host, port, nil)
	if err == nil && !filepath.IsAbs(args[0]) {
		err = fmt.Errorf("%q is not an absolute path", args[0])
	}
	return err
}

// Commands runs commands, a limited number at a time. The zero value is not ready for use: see
// [NewCommands].
type Commands struct{ running chan struct{} }

// NewCommands returns a new Commands.
func NewCommands() *Commands { return &Commands{make(chan struct{}, maxCommands)} }

// Listings holds the outputs of a command for one host, by the command line: the same line is
// not run again. The zero value is ready for use, by one goroutine.
type Listings map[string][]byte

// Get returns the output of the command, and runs it if necessary. purpose is [ForOrder],
// [ForHost] or [ForAddress]; key is nil if the host has not shown one yet.
func (l *Listings) Get(ctx context.Context, r *Commands, c Command, purpose, name string, port int, key ssh.PublicKey) ([]byte, error) {
	args, err := c.expand(purpose, name, port, key)
	if err != nil {
		return nil, err
	}
	id := strings.Join(args, "\x00")
	if text, ok := (*l)[id]; ok {
		return text, nil
	}
	text, err := r.run(ctx, args)
	if err != nil {
		return nil, err
	}
	if *l == nil {
		*l = make(Listings)
	}
	(*l)[id] = text
	return text, nil
}

// run runs the program and returns its output. The error contains the first 400 bytes of its
// stderr.
func (r *Commands) run(ctx context.Context, args []string) ([]byte, error) {
	select {
	case r.running <- struct{}{}:
		defer func() { <-r.running }()
	case <-ctx.Done():
		return nil, deadline.Cause(ctx)
	}
	limited, cancel := context.WithTimeout(ctx, maxTime)
	defer cancel()
	stderr := &limitedBuffer{max: 400}
	text, err := output(limited, args, stderr)
	switch {
	case ctx.Err() != nil:
		return nil, deadline.Cause(ctx)
	case len(text) > maxListing:
		return nil, fmt.Errorf("%s has written more than %d MiB", args[0], maxListing>>20)
	case limited.Err() != nil:
		return nil, fmt.Errorf("%s has taken longer than %v", args[0], maxTime)
	case err != nil:
		if text := strings.TrimSpace(string(stderr.bytes)); text != "" {
			return nil, fmt.Errorf("%s: %w: %s", args[0], err, text)
		}
		return nil, fmt.Errorf("%s: %w", args[0], withoutPath(err))
	}
	return text, nil
}

// output runs a program and returns what it writes to stdout, up to one byte more than allowed.
//
// It uses a pipe of its own, because a child of the program may hold the other end longer than
// the program runs, and on a busy machine the end of file may come late: only ctx ends the wait.
func output(ctx context.Context, args []string, stderr *limitedBuffer) ([]byte, error) {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.WaitDelay = time.Second // for the rest of stderr
	cmd.Stderr = stderr
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	cmd.Stdout = w
	err = cmd.Start()
	w.Close()
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { r.Close() })
	defer stop()
	text, readErr := io.ReadAll(io.LimitReader(r, maxListing+1))
	r.Close() // ends a program that keeps writing
	err = cmd.Wait()
	if readErr != nil {
		return nil, readErr
	}
	if err != nil && !errors.Is(err, exec.ErrWaitDelay) {
		return text, err
	}
	return text, nil
}

// limitedBuffer keeps the first max bytes that are written to it.
type limitedBuffer struct {
	bytes []byte
	max   int
}

func (b *limitedBuffer) Write(p []byte) (int, error) {
	b.bytes = append(b.bytes, p[:min(len(p), b.max-len(b.bytes))]...)
	return len(p), nil
}

// expand replaces the tokens of the command. Without a key, the tokens of the key become "NONE",
// as with ssh.
func (c Command) expand(purpose, name string, port int, key ssh.PublicKey) ([]string, error) {
	values := map[byte]string{'%': "%", 'I': purpose, 'H': (&Shown{Host: name, Port: port}).Name(), 'f': "NONE", 'K': "NONE", 't': "NONE"}
	if key != nil {
		values['f'], values['t'] = ssh.FingerprintSHA256(algorithms.PlainKey(key)), key.Type()
		values['K'] = base64.StdEncoding.EncodeToString(key.Marshal())
	}
	args := make([]string, len(c))
	for i, word := range c {
		var b strings.Builder
		for rest := word; ; {
			before, after, found := strings.Cut(rest, "%")
			b.WriteString(before)
			if !found {
				break
			}
			if after == "" {
				return nil, errors.New(`"%" at the end; "%%" stands for "%"`)
			}
			value, ok := values[after[0]]
			if !ok {
				return nil, fmt.Errorf("%q is not a known token", "%"+after[:1])
			}
			b.WriteString(value)
			rest = after[1:]
		}
		args[i] = b.String()
	}
	return args, nil
}

// withoutPath drops the path from an error, for messages that contain it already.
func withoutPath(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	return err
}
