package inventory

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// The limits of programs that answer questions about hosts.
const (
	scriptTime = 2 * time.Minute // for all calls of a script
	upcallTime = 30 * time.Second
	maxAsked   = 10_000 // hosts that a script is asked about one by one
)

// A scriptReader reads the answers of an executable.
type scriptReader struct {
	*reader
	hosts map[string]*host // that it has named
}

// script adds what an executable answers to --list, and to --host for each host
// unless it has said that already.
func (r *reader) script() error {
	s := &scriptReader{r, make(map[string]*host)}
	return s.ask()
}

func (r *scriptReader) ask() error {
	ctx, cancel := context.WithTimeout(context.Background(), scriptTime)
	defer cancel()
	path, err := filepath.Abs(r.path)
	if err != nil {
		return r.at(0, err)
	}
	output, err := run(ctx, exec.CommandContext(ctx, path, "--list"))
	if err != nil {
		return r.at(0, fmt.Errorf("--list: %w", err))
	}
	hostVars, err := r.list(output)
	if err != nil {
		return r.at(0, fmt.Errorf("--list: %w", err))
	}
	if hostVars == nil && len(r.hosts) > maxAsked {
		return r.fail(0, "it says nothing about the variables of its %d hosts, which are too many to ask one by one", len(r.hosts))
	}
	for _, name := range slices.Sorted(maps.Keys(r.hosts)) {
		vars := hostVars[name]
		if hostVars == nil {
			output, err := run(ctx, exec.CommandContext(ctx, path, "--host", name))
			if err == nil {
				vars, err = hostAnswer(output)
			}
			if err != nil {
				return r.at(0, fmt.Errorf("--host %s: %w", name, err))
			}
		}
		for key, value := range vars {
			if err := r.inv.graph.setHostVar(r.hosts[name], key, value); err != nil {
				return r.at(0, err)
			}
		}
	}
	return nil
}

// hostAnswer reads an answer to --host, which may be nothing.
func hostAnswer(output []byte) (vars map[string]any, err error) {
	if len(bytes.TrimSpace(output)) == 0 {
		return nil, nil
	}
	return vars, decodeJSON(output, &vars)
}

// list reads an answer to --list, and returns the variables of the hosts if it holds
// them.
func (r *scriptReader) list(output []byte) (hostVars map[string]map[string]any, err error) {
	var groups map[string]json.RawMessage
	if err := decodeJSON(output, &groups); err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(groups)) {
		if name == "_meta" {
			var meta struct {
				HostVars map[string]map[string]any `json:"hostvars"`
			}
			if err := decodeJSON(groups[name], &meta); err != nil {
				return nil, fmt.Errorf("_meta: %w", err)
			}
			hostVars = meta.HostVars
			continue
		}
		if err := r.listGroup(name, groups[name]); err != nil {
			return nil, fmt.Errorf("group %.80q: %w", name, err)
		}
	}
	return hostVars, nil
}

// listGroup reads a group: a list of hosts, or an object.
func (r *scriptReader) listGroup(name string, data []byte) error {
	g := r.inv.graph
	grp, err := g.group(name)
	if err != nil {
		return err
	}
	var content struct {
		Hosts    []string
		Children []string
		Vars     map[string]any
	}
	if bytes.HasPrefix(bytes.TrimSpace(data), []byte("[")) {
		err = decodeJSON(data, &content.Hosts)
	} else {
		var keys map[string]json.RawMessage
		if err = decodeJSON(data, &keys); err == nil && len(keys) > 0 && keys["hosts"] == nil && keys["vars"] == nil && keys["children"] == nil {
			// A host with its variables, in a form that is no longer documented.
			content.Hosts = []string{name}
			err = decodeJSON(data, &content.Vars)
		} else if err == nil {
			err = decodeJSON(data, &content)
		}
	}
	if err != nil {
		return err
	}
	for _, name := range content.Hosts {
		h, err := g.host(name)
		if err != nil {
			return err
		}
		if err := g.addHost(grp, h); err != nil {
			return err
		}
		r.hosts[name] = h
	}
	for key, value := range content.Vars {
		if err := g.setGroupVar(grp, key, value); err != nil {
			return err
		}
	}
	for _, name := range content.Children {
		child, err := g.group(name)
		if err != nil {
			return err
		}
		if err := g.addChild(grp, child); err != nil {
			return err
		}
	}
	return nil
}

// decodeJSON keeps numbers as they are written.
func decodeJSON(data []byte, into any) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	if err := dec.Decode(into); err != nil {
		return fmt.Errorf("not the JSON that is asked for: %w", err)
	}
	if dec.More() {
		return errors.New("more than one JSON value")
	}
	return nil
}

// run returns what a program writes. It has nothing on its standard input.
// The context is that of cmd.
func run(ctx context.Context, cmd *exec.Cmd) ([]byte, error) {
	const maxMessage = 2000
	stdout, stderr := &bounded{left: maxFile}, &bounded{left: maxMessage, cuts: true}
	cmd.Stdout, cmd.Stderr = stdout, stderr
	// What the program has started may keep the pipes open when it has ended. Without that,
	// a busy machine may need a while to read what is in them.
	cmd.WaitDelay = 5 * time.Second
	err := cmd.Run()
	// An error is one line.
	message := strings.Join(strings.FieldsFunc(stderr.buf.String(), func(r rune) bool { return r == '\n' || r == '\r' }), "; ")
	switch {
	case ctx.Err() != nil:
		return nil, errors.New("it took too long")
	case errors.Is(err, exec.ErrWaitDelay):
		return nil, errors.New("it has ended, but something that it has started keeps its output open")
	case stdout.over:
		return nil, errors.New("it writes more than 64 MiB")
	case err != nil && message != "":
		return nil, fmt.Errorf("%w: %s", err, message)
	case err != nil:
		return nil, err
	case message != "" && len(bytes.TrimSpace(stdout.buf.Bytes())) == 0:
		return nil, errors.New("it writes nothing but: " + message)
	}
	return stdout.buf.Bytes(), nil
}

// A bounded buffer holds the first bytes. More are an error, or are lost if it cuts.
type bounded struct {
	buf  bytes.Buffer
	left int
	cuts bool
	over bool
}

// Write keeps what there is room for.
func (b *bounded) Write(p []byte) (int, error) {
	kept := p[:min(len(p), b.left)]
	b.left -= len(kept)
	b.buf.Write(kept)
	if len(kept) < len(p) && !b.cuts {
		b.over = true
		return len(kept), errors.New("too much output")
	}
	return len(p), nil
}
