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

// The limits of executables and upcalls.
const (
	scriptTime = 2 * time.Minute // for all calls of an executable
	upcallTime = 30 * time.Second
	maxAsked   = 10_000 // hosts that an executable is asked about one by one
)

// A scriptReader reads the answers of an executable.
type scriptReader struct {
	*reader
	hosts map[string]*host // in the answer to --list
}

// script adds the answers of an executable to --list and, if that answer has no variables of
// hosts, to --host for each host.
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
		return r.fail(0, "its answer has no variables of its %d hosts, which are too many to ask for one by one", len(r.hosts))
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

// hostAnswer parses an answer to --host, which may be empty.
func hostAnswer(output []byte) (vars map[string]any, err error) {
	if len(bytes.TrimSpace(output)) == 0 {
		return nil, nil
	}
	return vars, decodeJSON(output, &vars)
}

// list adds the answer to --list. It returns the variables of the hosts if the answer has them.
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

// listGroup adds a group: a list of hosts, or an object.
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
			// A host with its variables, in a form that Ansible no longer documents.
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

// decodeJSON decodes one JSON value. It keeps numbers as they are written.
func decodeJSON(data []byte, into any) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	if err := dec.Decode(into); err != nil {
		return fmt.Errorf("not the expected JSON: %w", err)
	}
	if dec.More() {
		return errors.New("more than one JSON value")
	}
	return nil
}

// run runs a program without standard input and returns its standard output. ctx is the context of
// cmd.
func run(ctx context.Context, cmd *exec.Cmd) ([]byte, error) {
	const maxMessage = 2000
	stdout, stderr := &bounded{left: maxFile}, &bounded{left: maxMessage, cuts: true}
	cmd.Stdout, cmd.Stderr = stdout, stderr
	// When the program has ended, its children may keep the pipes open. The delay also gives a busy
	// machine time to read the pipes.
	cmd.WaitDelay = 10 * time.Second
	err := cmd.Run()
	// Errors have one line.
	message := strings.Join(strings.FieldsFunc(stderr.buf.String(), func(r rune) bool { return r == '\n' || r == '\r' }), "; ")
	switch {
	case ctx.Err() != nil:
		return nil, errors.New("it did not finish in time")
	case errors.Is(err, exec.ErrWaitDelay):
		return nil, errors.New("it has ended, but a process that it started keeps its output open")
	case stdout.over:
		return nil, errors.New("it wrote more than 64 MiB")
	case err != nil && message != "":
		return nil, fmt.Errorf("%w: %s", err, message)
	case err != nil:
		return nil, err
	case message != "" && len(bytes.TrimSpace(stdout.buf.Bytes())) == 0:
		return nil, errors.New("it wrote only to standard error: " + message)
	}
	return stdout.buf.Bytes(), nil
}

// A bounded buffer holds the first left bytes. Further bytes are an error, or dropped if cuts is
// set.
type bounded struct {
	buf  bytes.Buffer
	left int
	cuts bool
	over bool
}

// Write implements [io.Writer].
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
