package fleetssh

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"fleetssh/internal/algorithms"
	"fleetssh/internal/deadline"
	"fleetssh/internal/keyfile"
	"fleetssh/internal/knownhosts"
)

// The bounds of KnownHostsCommand.
const (
	maxListers = 32               // at work at a time
	maxListing = 1 << 20          // bytes that one may write
	listTime   = 10 * time.Second // that one may take
)

// Why KnownHostsCommand is run: the values of %I.
const (
	listOrder   = "ORDER"    // to know which keys to ask the host for
	listHost    = "HOSTNAME" // to look up the key that it has shown
	listAddress = "ADDRESS"  // the same, by its address
)

// preferredKeys returns the algorithms to ask the host for, as a policy does.
func (a *attempt) preferredKeys(ctx context.Context) ([]string, error) {
	list, err := a.knownKeys(ctx)
	if err == nil && len(a.host.RevokedHostKeys) > 0 {
		list = algorithms.WithCertificates(list) // which may be revoked, where the keys in them are not
	}
	return list, err
}

func (a *attempt) knownKeys(ctx context.Context) ([]string, error) {
	name, port := a.host.keyName()
	policy, byFiles := a.policy.(*hostKeyFiles)
	if !byFiles {
		return a.policy.Algorithms(name, port), nil
	}
	listed, err := a.list(ctx, listOrder, name, port, nil)
	if err != nil && ctx.Err() != nil {
		return nil, a.fail(ctx, err)
	}
	if err != nil {
		return nil, err
	}
	return policy.with(listed).Algorithms(name, port), nil
}

// list returns what KnownHostsCommand lists for a host by this name, nil if there is no
// such command. Without a key, nothing has been shown yet.
func (a *attempt) list(ctx context.Context, why, name string, port int, key ssh.PublicKey) (*knownhosts.DB, error) {
	if len(a.host.KnownHostsCommand) == 0 {
		return nil, nil
	}
	a.phases.enter("host_key")
	text, err := a.listings.get(ctx, a.d, a.host, why, name, port, key)
	if err != nil {
		return nil, err
	}
	db := new(knownhosts.DB)
	return db, db.Read(bytes.NewReader(text), filepath.Base(a.host.KnownHostsCommand[0]))
}

// listings are what KnownHostsCommand has written for one host, by how it was run: the
// same line is not run again. The zero value is ready for use.
type listings map[string][]byte

// get runs KnownHostsCommand, if there is one and that has not been done.
func (l *listings) get(ctx context.Context, d *dialer, host *HostConfig, why, name string, port int, key ssh.PublicKey) ([]byte, error) {
	if len(host.KnownHostsCommand) == 0 {
		return nil, nil
	}
	args, err := expandLister(host.KnownHostsCommand, why, name, port, key)
	if err == nil {
		id := strings.Join(args, "\x00")
		if text, ok := (*l)[id]; ok {
			return text, nil
		}
		var text []byte
		if text, err = d.runLister(ctx, args); err == nil {
			if *l == nil {
				*l = make(listings)
			}
			(*l)[id] = text
			return text, nil
		}
	}
	return nil, &HostKeyError{Host: host.name(), Port: host.port(), Key: key, Err: fmt.Errorf("KnownHostsCommand: %w", err)}
}

// runLister runs the program, and returns what it writes.
func (d *dialer) runLister(ctx context.Context, args []string) ([]byte, error) {
	select {
	case d.listers <- struct{}{}:
		defer func() { <-d.listers }()
	case <-ctx.Done():
		return nil, deadline.Cause(ctx)
	}
	run, cancel := context.WithTimeout(ctx, listTime)
	defer cancel()
	complaint := &capped{most: 400}
	text, err := listing(run, args, complaint)
	switch {
	case ctx.Err() != nil:
		return nil, deadline.Cause(ctx)
	case len(text) > maxListing:
		return nil, fmt.Errorf("%s has written more than %d MiB", args[0], maxListing>>20)
	case run.Err() != nil:
		return nil, fmt.Errorf("%s has taken longer than %v", args[0], listTime)
	case err != nil:
		if text := strings.TrimSpace(string(complaint.kept)); text != "" {
			return nil, fmt.Errorf("%s: %w: %s", args[0], err, text)
		}
		return nil, fmt.Errorf("%s: %w", args[0], keyfile.WithoutPath(err))
	}
	return text, nil
}

// listing runs a program and returns what it writes, up to a byte more than it may.
//
// The pipe is ours: what the program has started may hold its other end for longer than
// the program is there, and on a busy machine the end of it may come late. Only the time
// that the whole may take ends the wait.
func listing(ctx context.Context, args []string, complaint *capped) ([]byte, error) {
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

// expandLister replaces the tokens of KnownHostsCommand. Without a key, those that are
// about it are "NONE", as for ssh.
func expandLister(words []string, why, name string, port int, key ssh.PublicKey) ([]string, error) {
	values := map[byte]string{'%': "%", 'I': why, 'H': (&knownhosts.Shown{Host: name, Port: port}).Name(), 'f': "NONE", 'K': "NONE", 't': "NONE"}
	if key != nil {
		values['f'], values['t'] = ssh.FingerprintSHA256(algorithms.PlainKey(key)), key.Type()
		values['K'] = base64.StdEncoding.EncodeToString(key.Marshal())
	}
	args := make([]string, len(words))
	for i, word := range words {
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

// commandFault says why KnownHostsCommand cannot be used.
func (h *HostConfig) commandFault() string {
	if len(h.KnownHostsCommand) == 0 {
		return ""
	}
	args, err := expandLister(h.KnownHostsCommand, listOrder, h.Host, h.port(), nil)
	_, byFiles := h.HostKeys.(*hostKeyFiles)
	switch {
	case err != nil:
		return err.Error()
	case !filepath.IsAbs(args[0]):
		return fmt.Sprintf("%q is not an absolute path", args[0])
	case h.HostKeys != nil && !byFiles:
		return "it goes with known_hosts files only, and HostKeys is another policy"
	}
	return ""
}
