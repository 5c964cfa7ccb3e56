package fleetssh

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"fleetssh/internal/conn"
	"fleetssh/internal/deadline"
	"fleetssh/internal/placeholder"
	"fleetssh/internal/sanitize"
	"fleetssh/internal/shellquote"
	"fleetssh/internal/transfer"
)

// direction is the direction of a copy.
type direction int

const (
	upload direction = iota
	download
)

// copyPlan is a prepared copy: it is checked, and its placeholders are replaced, so that errors
// in it show before any host is contacted.
type copyPlan struct {
	opts    CopyOptions
	way     direction
	hosts   []HostConfig
	job     *transfer.Job
	sources [][]string // one entry a host, or a single one for all
	dests   []string   // likewise

	mu sync.Mutex // held while Progress and Finished are called
}

// copyPaths are the paths as the caller gave them.
type copyPaths struct {
	from, to string
	byHost   bool // to holds a directory for each host
}

// plan checks the options and prepares a copy for hosts, of which atOnce are copied at the same
// time.
func (o *CopyOptions) plan(way direction, hosts []HostConfig, atOnce int, paths copyPaths) (*copyPlan, error) {
	if o == nil {
		o = new(CopyOptions)
	}
	if err := o.check(way); err != nil {
		return nil, err
	}
	p := &copyPlan{opts: *o, way: way, hosts: hosts}
	sources := append([]string{paths.from}, o.MoreSources...)
	var err error
	if o.HostArgs != nil {
		err = p.expand(hosts, sources, paths.to)
	} else {
		p.sources, p.dests = [][]string{sources}, []string{paths.to}
	}
	if err == nil && paths.byHost {
		p.dests, err = hostDirs(hosts, paths.to)
	}
	if err == nil {
		err = p.checkPaths()
	}
	if err != nil {
		return nil, err
	}
	p.job = transfer.New(transfer.Options{
		Recursive: o.Recursive, Preserve: o.Preserve, Glob: o.Glob, Resume: o.Resume, Verify: o.Verify, Delete: o.Delete,
		SCP: o.Protocol == SCP, Rate: o.Rate, Files: o.OpenFiles, Stall: o.StallTimeout, Hosts: atOnce,
	})
	if way == upload {
		for i := range p.sources {
			if err := p.job.CheckSources(p.sources[i]); err != nil {
				p.job.Close()
				return nil, copyError("", err)
			}
		}
	}
	return p, nil
}

// warn logs the parts of the plan that the protocol can only approximate.
func (p *copyPlan) warn(log *slog.Logger) {
	if p.way == download {
		return
	}
	n, first := 0, ""
	seen := make(map[string]bool)
	for _, sources := range p.sources {
		for _, source := range sources {
			if seen[source] {
				continue
			}
			seen[source] = true
			more, path := p.job.Unsuited([]string{source})
			if n += more; first == "" {
				first = path
			}
		}
	}
	if n > 0 {
		text := first + ": the protocol carries times from 1970 to 2106 only: the nearest one is used"
		if n > 1 {
			text += fmt.Sprintf(", as for %d more", n-1)
		}
		log.Warn(text)
	}
}

// check refuses settings that have no meaning, or cannot be combined.
func (o *CopyOptions) check(way direction) error {
	fault := func(field, format string, args ...any) error {
		return &ConfigError{Index: -1, Field: "CopyOptions." + field, Reason: fmt.Sprintf(format, args...)}
	}
	switch {
	case o.Protocol != SFTP && o.Protocol != SCP:
		return fault("Protocol", "%d is none", o.Protocol)
	case o.Rate < 0:
		return fault("Rate", "%d is negative", o.Rate)
	case o.OpenFiles < 0:
		return fault("OpenFiles", "%d is negative", o.OpenFiles)
	case o.Timeout < 0:
		return fault("Timeout", "%v is negative", o.Timeout)
	case o.StallTimeout < 0:
		return fault("StallTimeout", "%v is negative", o.StallTimeout)
	case o.Delete && !o.Recursive:
		return fault("Delete", "it needs Recursive")
	case o.Protocol == SCP && o.Resume:
		return fault("Resume", "SCP cannot continue a file: use SFTP")
	case o.Protocol == SCP && o.Delete:
		return fault("Delete", "SCP cannot list files: use SFTP")
	case way == upload && o.Glob:
		return fault("Glob", "it is for paths on hosts: filepath.Glob expands local ones")
	}
	return o.Install.check(o, way)
}

// expand replaces the placeholders for every host.
func (p *copyPlan) expand(hosts []HostConfig, sources []string, dest string) error {
	args := p.opts.HostArgs
	if len(args) != len(hosts) {
		return &HostArgumentError{Index: -1, Reason: fmt.Sprintf("%d entries for %d hosts", len(args), len(hosts))}
	}
	const between = "\x00" // no path holds it
	line := strings.Join(append(slices.Clone(sources), dest), between)
	for i, a := range args {
		all, err := placeholder.Expand(line, a.List, a.Map)
		if fault, ok := errors.AsType[*placeholder.Error](err); ok {
			return &HostArgumentError{Index: i, Name: fault.Name, Reason: fault.Reason}
		}
		paths := strings.Split(all, between)
		if len(paths) != len(sources)+1 {
			return &HostArgumentError{Index: i, Reason: "a value holds a NUL byte"}
		}
		p.sources = append(p.sources, paths[:len(sources)])
		p.dests = append(p.dests, paths[len(sources)])
	}
	return nil
}

// hostDirs returns a directory below dir for every host, each a different one.
func hostDirs(hosts []HostConfig, dir string) ([]string, error) {
	byName := make(map[string]int)
	byAddress := make(map[string]int)
	address := func(h *HostConfig) string { return h.name() + ":" + strconv.Itoa(h.port()) }
	for i := range hosts {
		byName[hosts[i].name()]++
		byAddress[address(&hosts[i])]++
	}
	dirs := make([]string, len(hosts))
	for i := range hosts {
		h := &hosts[i]
		name := h.name()
		switch {
		case byName[name] == 1:
		case byAddress[address(h)] == 1:
			name = address(h)
		default:
			name += "#" + strconv.Itoa(i)
		}
		if name == "." || name == ".." || strings.ContainsRune(name, filepath.Separator) || strings.ContainsRune(name, '/') {
			return nil, &ConfigError{Index: i, Field: "HostConfig.Alias", Reason: fmt.Sprintf("%q cannot be the name of a directory", name)}
		}
		dirs[i] = filepath.Join(dir, name) + string(filepath.Separator)
	}
	return dirs, nil
}

// checkPaths checks that no path is missing, and that no two hosts write to the same local
// path.
func (p *copyPlan) checkPaths() error {
	for i := range p.sources {
		if slices.Contains(p.sources[i], "") {
			return &ConfigError{Index: -1, Field: "CopyOptions", Reason: "the path of a source is empty"}
		}
	}
	if p.way == upload || len(p.dests) < 2 {
		return nil
	}
	sources := func(i int) []string { return p.sources[min(i, len(p.sources)-1)] }
	if clash := transfer.FindClash(p.dests, sources, p.opts.Glob); clash != nil {
		return &HostArgumentError{Index: clash.Host, Reason: fmt.Sprintf("its copy would overwrite files of %s at %s", p.hostName(clash.Other), clash.Path)}
	}
	return nil
}

// hostName returns the name of a host for a message, with its port if another host has the same
// name.
func (p *copyPlan) hostName(i int) string {
	h := &p.hosts[i]
	for k := range p.hosts {
		if k != i && p.hosts[k].name() == h.name() {
			return h.name() + ":" + strconv.Itoa(h.port())
		}
	}
	return h.name()
}

// errCopyTimeout is the cause of a copy that CopyOptions.Timeout has ended.
var errCopyTimeout = &conn.Error{Text: "the time for the copy is over", Err: context.DeadlineExceeded}

// run copies to or from host number i.
func (p *copyPlan) run(ctx context.Context, c *Client, i int) CopyResult {
	r := CopyResult{Index: i, Host: *c.host, timing: c.Timing()}
	sources, dest := p.sources[min(i, len(p.sources)-1)], p.dests[min(i, len(p.dests)-1)]
	copyCtx := ctx
	if p.opts.Timeout > 0 {
		var cancel context.CancelFunc
		copyCtx, cancel = context.WithTimeoutCause(ctx, p.opts.Timeout, errCopyTimeout)
		defer cancel()
	}
	var report func(transfer.Progress)
	if p.opts.Progress != nil {
		report = func(t transfer.Progress) { p.report(c, i, t) }
	}
	begun := time.Now()
	var sum transfer.Result
	var err error
	switch {
	case p.opts.Install != nil:
		sum, err = p.install(copyCtx, c, sources, dest, report)
	case p.way == upload:
		sum, err = p.job.Upload(copyCtx, c.transferHost(), sources, dest, report)
	default:
		sum, err = p.job.Download(copyCtx, c.transferHost(), sources, dest, report)
	}
	r.timing.Run = time.Since(begun)
	r.Files, r.Bytes, r.Skipped, r.Deleted, r.Failed = sum.Files, sum.Bytes, sum.Skipped, sum.Deleted, sum.Failed
	p.recordEnd(ctx, c, &r, err)
	return r
}

// transferHost returns the functions by which package transfer starts programs on the host.
func (c *Client) transferHost() *transfer.Host {
	return &transfer.Host{
		SFTP: func(ctx context.Context) (transfer.Stream, error) {
			return c.openRawSession(ctx, "subsystem", ssh.Marshal(struct{ Name string }{"sftp"}))
		},
		Exec: func(ctx context.Context, line string) (transfer.Stream, error) {
			return c.openRawSession(ctx, "exec", execPayload(shellquote.Portable(line)))
		},
		Broken: c.conn.Failed,
	}
}

// recordEnd records how the copy has ended.
func (p *copyPlan) recordEnd(ctx context.Context, c *Client, r *CopyResult, err error) {
	name, port := c.host.name(), c.host.port()
	file, isFile := errors.AsType[*transfer.Error](err)
	switch {
	case err == nil:
		r.Outcome.Kind = Exited
	case isFile:
		r.Outcome, r.Err = Outcome{Kind: Exited, ExitCode: 1}, copyError(name, file)
		r.Err.(*CopyError).More = r.Failed - 1
	case ctx.Err() != nil:
		r.Outcome = Outcome{Kind: Cancelled, Stopped: !c.conn.Failed()}
		r.Err = &SessionError{Host: name, Port: port, Phase: PhaseCopy, Err: deadline.Cause(ctx)}
		if errors.Is(deadline.Cause(ctx), context.DeadlineExceeded) {
			r.Outcome.Kind, r.Err = TimedOut, &TimeoutError{Host: name, Port: port, Phase: PhaseCopy, After: r.timing.Run}
		}
	case errors.Is(err, errCopyTimeout):
		r.Outcome = Outcome{Kind: TimedOut, Stopped: !c.conn.Failed()}
		r.Err = &TimeoutError{Host: name, Port: port, Phase: PhaseRun, After: p.opts.Timeout}
	case errors.Is(err, transfer.ErrStalled):
		r.Outcome = Outcome{Kind: TimedOut}
		r.Err = &TimeoutError{Host: name, Port: port, Phase: PhaseCopy, After: p.stall()}
	case errors.Is(err, transfer.ErrLost):
		why := errors.New("the file server on the host has ended")
		if c.conn.Failed() {
			r.Err = &ConnectionError{Host: name, Port: port, Phase: PhaseRun, Err: c.conn.LostError(err)}
		} else {
			r.Err = &ConnectionError{Host: name, Port: port, Phase: PhaseRun, Err: why}
		}
		r.Outcome.Kind = Lost
	default:
		r.Err, r.Outcome = err, OutcomeOf(err)
		if phaseOf(err) == PhaseConnect { // not an error of this package: the SFTP server sent it
			phase := PhaseSubsystem
			if _, other := errors.AsType[*transfer.NotSFTPError](err); other {
				phase = PhaseSFTP // the answer is not SFTP
			}
			r.Err = &SessionError{Host: name, Port: port, Phase: phase, Err: err}
			r.Outcome = OutcomeOf(r.Err)
		}
	}
}

// stall returns how long a host may be silent.
func (p *copyPlan) stall() time.Duration {
	if p.opts.StallTimeout > 0 {
		return p.opts.StallTimeout
	}
	return transfer.DefaultStall
}

// report passes the progress of a file to Progress.
func (p *copyPlan) report(c *Client, i int, t transfer.Progress) {
	if t.Err != nil {
		t.Err = copyError(c.host.name(), t.Err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.opts.Progress(CopyProgress{Host: *c.host, Index: i, Path: t.Path, Done: t.Done, Total: t.Total, Ended: t.Ended, Skipped: t.Skipped, Err: t.Err})
}

// tell passes the result of a host to Finished.
func (p *copyPlan) tell(i int, r CopyResult) {
	if p.opts.Finished == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.opts.Finished(i, r)
}

// mostPath is how many bytes of a path an error keeps, because a host may send a path of any
// length. It is the longest path that systems allow.
const mostPath = 4 << 10

// copyError translates an error about a file.
func copyError(host string, err error) error {
	if e, ok := errors.AsType[*transfer.Error](err); ok {
		return &CopyError{Host: host, Op: CopyOp(e.Op), Path: sanitize.Cut(e.Path, mostPath), Local: e.Local, Err: e.Err}
	}
	return err
}
