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

	"fleetssh/internal/deadline"
)

// A Command is a program, by its absolute path, and its arguments that lists keys of
// hosts: KnownHostsCommand of ssh_config(5). %f, %H, %I, %K, %t and %% are replaced.
type Command []string

// The bounds of a Command.
const (
	maxCommands = 32               // at work at a time
	maxListing  = 1 << 20          // bytes that one may write
	listTime    = 10 * time.Second // that one may take
)

// Why a Command is run: the values of %I.
const (
	ForOrder   = "ORDER"    // to know which keys to ask the host for
	ForHost    = "HOSTNAME" // to look up the key that it has shown
	ForAddress = "ADDRESS"  // the same, by its address
)

// Check returns why the command cannot be used.
func (c Command) Check(host string, port int) error {
	args, err := c.expand(ForOrder, host, port, nil)
	if err == nil && !filepath.IsAbs(args[0]) {
		err = fmt.Errorf("%q is not an absolute path", args[0])
	}
	return err
}

// Commands runs commands, a limited number at a time. The zero value is not ready for use.
type Commands struct{ turns chan struct{} }

// NewCommands returns one that runs nothing yet.
func NewCommands() *Commands { return &Commands{make(chan struct{}, maxCommands)} }

// Listings are what a command has written for one host, by how it was run: the same line
// is not run again. The zero value is ready for use, by one goroutine.
type Listings map[string][]byte

// Get runs the command, unless that has been done. Without a key, nothing has been shown
// yet.
func (l *Listings) Get(ctx context.Context, r *Commands, c Command, why, name string, port int, key ssh.PublicKey) ([]byte, error) {
	args, err := c.expand(why, name, port, key)
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

// run runs the program, and returns what it writes.
func (r *Commands) run(ctx context.Context, args []string) ([]byte, error) {
	select {
	case r.turns <- struct{}{}:
		defer func() { <-r.turns }()
	case <-ctx.Done():
		return nil, deadline.Cause(ctx)
	}
	during, cancel := context.WithTimeout(ctx, listTime)
	defer cancel()
	complaint := &capped{most: 400}
	text, err := output(during, args, complaint)
	switch {
	case ctx.Err() != nil:
		return nil, deadline.Cause(ctx)
	case len(text) > maxListing:
		return nil, fmt.Errorf("%s has written more than %d MiB", args[0], maxListing>>20)
	case during.Err() != nil:
		return nil, fmt.Errorf("%s has taken longer than %v", args[0], listTime)
	case err != nil:
		if text := strings.TrimSpace(string(complaint.kept)); text != "" {
			return nil, fmt.Errorf("%s: %w: %s", args[0], err, text)
		}
		return nil, fmt.Errorf("%s: %w", args[0], withoutPath(err))
	}
	return text, nil
}

// output runs a program and returns what it writes, up to a byte more than it may.
//
// The pipe is ours: what the program has started may hold its other end for longer than
// the program is there, and on a busy machine the end of it may come late. Only the time
// that the whole may take ends the wait.
func output(ctx context.Context, args []string, complaint *capped) ([]byte, error) {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.WaitDelay = time.Second // for the rest of complaint
	cmd.Stderr = complaint
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
	r.Close() // so that a program that writes on ends
	err = cmd.Wait()
	if readErr != nil {
		return nil, readErr
	}
	if err != nil && !errors.Is(err, exec.ErrWaitDelay) {
		return text, err
	}
	return text, nil
}

// capped keeps the first bytes that are written to it.
type capped struct {
	kept []byte
	most int
}

func (c *capped) Write(p []byte) (int, error) {
	c.kept = append(c.kept, p[:min(len(p), c.most-len(c.kept))]...)
	return len(p), nil
}

// expand replaces the tokens of the command. Without a key, those that are
// about it are "NONE", as for ssh.
func (c Command) expand(why, name string, port int, key ssh.PublicKey) ([]string, error) {
	values := map[byte]string{'%': "%", 'I': why, 'H': (&Shown{Host: name, Port: port}).Name(), 'f': "NONE", 'K': "NONE", 't': "NONE"}
	if key != nil {
		values['f'], values['t'] = ssh.FingerprintSHA256(plainKey(key)), key.Type()
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
				return nil, fmt.Errorf("%q is no token that can be replaced in it", "%"+after[:1])
			}
			b.WriteString(value)
			rest = after[1:]
		}
		args[i] = b.String()
	}
	return args, nil
}

// withoutPath drops the path from an error whose reader is told it anyway.
func withoutPath(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	return err
}
