package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/display"
	"fleetssh/cmd/fleetssh/internal/exit"
	"fleetssh/cmd/fleetssh/internal/results"
	"fleetssh/cmd/fleetssh/internal/selection"
	"fleetssh/cmd/fleetssh/internal/termline"
	"fleetssh/internal/account"
	"fleetssh/internal/placeholder"
	"fleetssh/internal/shellquote"
)

// copyPlan is what is copied where, for each host.
type copyPlan struct {
	verb    string
	given   []string // the paths as given
	sources []string
	target  string
	hosts   []selection.Host
	args    []fleetssh.Args // values for placeholders, by host; nil: there are none

	stdin        string // the file with standard input, which is given as "-"; empty: none
	placeholders bool   // the given paths have placeholders, and percent signs are doubled
}

// plan returns the plan for the arguments. It makes all local checks.
func (o *copyOptions) plan(args []string, hosts []selection.Host) (*copyPlan, error) {
	if o.verb == "put" {
		args = expandWildcards(args)
	}
	p := &copyPlan{verb: o.verb, given: args, hosts: hosts}
	var fromFile []fleetssh.Args
	var err error
	if o.safety.argsFile != "" {
		if fromFile, err = selection.ReadArgs(o.safety.argsFile, hosts); err != nil {
			return nil, err
		}
	}
	p.placeholders = strings.Contains(strings.Join(args, "\n"), "%(")
	if p.placeholders || o.verb == "get" {
		if p.args, err = copyArgs(fromFile, hosts); err != nil {
			return nil, err
		}
	}
	paths := slices.Clone(args)
	last := len(paths) - 1
	if p.stdin = o.stdinFile; p.stdin != "" {
		paths[0] = p.stdin
		if p.placeholders {
			paths[0] = strings.ReplaceAll(p.stdin, "%", "%%")
		}
	}
	if o.verb == "get" {
		if !p.placeholders {
			for i := range paths {
				paths[i] = strings.ReplaceAll(paths[i], "%", "%%")
			}
		}
		if !strings.Contains(paths[last], "%(") {
			paths[last] = strings.TrimRight(paths[last], "/") + "/%(host)s/"
		}
	}
	p.sources, p.target = paths[:last], paths[last]
	if err := p.checkHostPaths(); err != nil {
		return nil, err
	}
	if err := p.check(); err != nil {
		return nil, err
	}
	if o.verb == "put" {
		if err := p.checkSources(o.recursive); err != nil {
			return nil, err
		}
	}
	return p, p.validate(o.options())
}

// only returns the plan for some of its hosts.
func (p *copyPlan) only(indexes []int) *copyPlan {
	part := *p
	part.hosts, part.args = nil, nil
	for _, i := range indexes {
		part.hosts = append(part.hosts, p.hosts[i])
		if p.args != nil {
			part.args = append(part.args, p.args[i])
		}
	}
	return &part
}

// copyArgs returns the values for placeholders in paths: name, user, port and index of the host, and the
// columns of --args-file.
func copyArgs(given []fleetssh.Args, hosts []selection.Host) ([]fleetssh.Args, error) {
	args := make([]fleetssh.Args, len(hosts))
	names := selection.FileNames(hosts)
	for i := range hosts {
		h := &hosts[i]
		login := h.Config.User
		if login == "" {
			var err error
			if login, err = account.Name(); err != nil {
				return nil, fmt.Errorf("user: %w", err)
			}
		}
		values := map[string]string{"user": login, "port": strconv.Itoa(selection.PortOf(&h.Config)), "index": strconv.Itoa(i)}
		if given != nil {
			maps.Copy(values, given[i].Map)
		}
		values[selection.HostColumn] = names[i] // it is unique
		args[i].Map = values
	}
	return args, nil
}

// paths returns the sources and the target of host number i.
func (p *copyPlan) paths(i int) (sources []string, target string, err error) {
	if p.args == nil {
		return p.sources, p.target, nil
	}
	return p.expand(i, p.args[i].Map)
}

// expand returns the sources and the target of host number i with these values for placeholders.
func (p *copyPlan) expand(i int, values map[string]string) (sources []string, target string, err error) {
	expanded := make([]string, 0, len(p.sources)+1)
	for _, path := range append(p.sources[:len(p.sources):len(p.sources)], p.target) {
		full, err := placeholder.Expand(path, nil, values)
		if err != nil {
			return nil, "", exit.UsageError("placeholders are host, user, port, index and the columns of --args-file", "%s: %s: %v", p.hosts[i].Label, path, err)
		}
		if full == "" {
			return nil, "", exit.UsageError("", "%s: %s: the path is empty", p.hosts[i].Label, path)
		}
		expanded = append(expanded, full)
	}
	return expanded[:len(p.sources)], expanded[len(p.sources)], nil
}

// check refuses paths with placeholders that have no value.
func (p *copyPlan) check() error {
	for i := range p.hosts {
		if _, _, err := p.paths(i); err != nil || p.args == nil {
			return err // without placeholders, one host stands for all
		}
	}
	return nil
}

// checkHostPaths refuses remote paths that begin with the name of a host, as for scp and rsync.
// fleetssh would take them for files of that name on every host.
func (p *copyPlan) checkHostPaths() error {
	onHosts := p.sources
	if p.verb == "put" {
		onHosts = []string{p.target}
	}
	for _, path := range onHosts {
		name, rest, found := strings.Cut(path, ":")
		if !found || strings.Contains(name, "/") {
			continue
		}
		name = name[strings.LastIndexByte(name, '@')+1:]
		for i := range p.hosts {
			if h := &p.hosts[i]; name == h.Label || name == h.Config.Host || name == h.Config.Alias {
				if rest == "" {
					rest = "."
				}
				return exit.UsageError("write the path alone: "+shellquote.Quote(rest)+"; or ./"+shellquote.Quote(path)+" for a file with that name",
					"%s: the path starts with a host name; hosts are chosen with -w", path)
			}
		}
	}
	return nil
}

// checkSources checks that the files to be copied exist.
func (p *copyPlan) checkSources(recursive bool) error {
	known := make(map[string]bool)
	for i := range p.hosts {
		sources, _, err := p.paths(i)
		if err != nil {
			return err
		}
		for _, source := range sources {
			if known[source] {
				continue
			}
			known[source] = true
			info, err := os.Stat(source)
			switch {
			case err != nil && p.args != nil:
				return fmt.Errorf("%s, for %s: %s", source, p.hosts[i].Label, exit.Reason(err))
			case err != nil:
				return fmt.Errorf("%s: %s", source, exit.Reason(err))
			case info.IsDir() && !recursive:
				return exit.UsageError("add -r", "%s is a directory", source)
			}
		}
		if p.args == nil {
			break
		}
	}
	return nil
}

// validate lets the library check the copy before any host is contacted.
func (p *copyPlan) validate(opts fleetssh.CopyOptions) error {
	over, end := context.WithCancel(context.Background())
	end()
	client := &fleetssh.ParallelClient{Hosts: selection.Configs(p.hosts)}
	defer client.Close()
	opts = p.options(opts, 0, len(p.hosts))
	_, err := p.copy(over, client, &opts)
	return p.wrongUsage(err)
}

// wrongUsage returns err as a usage error if it is about the options. It returns nil if err is about
// hosts.
func (p *copyPlan) wrongUsage(err error) error {
	switch e := err.(type) {
	case *fleetssh.HostsError:
		return nil
	case *fleetssh.CopyError: // it is about a local file
		return errors.New(results.CopyProblem(e).Reason)
	case *fleetssh.HostArgumentError:
		if e.Index >= 0 && e.Name == "" {
			return exit.UsageError("add %(host)s to the local path", "%s: %s", p.hosts[e.Index].Label, e.Reason)
		}
	}
	return exit.AsUsage(err)
}

// copy executes the plan. opts must have been made for the hosts of client.
func (p *copyPlan) copy(ctx context.Context, client *fleetssh.ParallelClient, opts *fleetssh.CopyOptions) ([]fleetssh.CopyResult, error) {
	if p.verb == "put" {
		return client.Upload(ctx, p.sources[0], p.target, opts)
	}
	return client.Download(ctx, p.sources[0], p.target, opts)
}

// options returns opts with the paths for the hosts of a batch.
func (p *copyPlan) options(opts fleetssh.CopyOptions, from, size int) fleetssh.CopyOptions {
	opts.MoreSources = p.sources[1:]
	if p.args != nil {
		opts.HostArgs = p.args[from : from+size]
	}
	return opts
}

// show shows what would be copied where, by batch.
func (p *copyPlan) show(ctx context.Context, show display.Plan) error {
	_, err := show.Show(func(i int) (string, error) {
		sources, target, err := p.paths(i)
		if p.args != nil && !show.Verbose && len(p.hosts) > 1 {
			// The name of the host stays a placeholder, so that hosts which differ in nothing else share
			// a line.
			values := maps.Clone(p.args[i].Map)
			values[selection.HostColumn] = "%(" + selection.HostColumn + ")s"
			sources, target, err = p.expand(i, values)
		}
		if err == nil && p.stdin != "" {
			sources = []string{"-"}
		}
		return termline.Visible(shellquote.Join(sources...) + " -> " + shellquote.Quote(target)), err
	})
	if err != nil {
		return err
	}
	if p.verb == "get" {
		show.Total(countPaths(len(p.sources)) + " each")
		return nil
	}
	show.Total(results.AmountsText(p.measure(ctx.Done())))
	return nil
}

func countPaths(n int) string {
	if n == 1 {
		return "1 path"
	}
	return fmt.Sprint(n, " paths")
}

// text returns the copy as given.
func (p *copyPlan) text() string {
	return p.verb + " " + shellquote.Join(p.given...)
}

// maxRecordedPaths is the largest total size of the recorded paths of a copy, in bytes.
const maxRecordedPaths = 256 << 10

// recorded returns the paths for the record, local ones absolute. It returns nil if they cannot be
// recorded.
func (p *copyPlan) recorded() []string {
	words := slices.Clone(p.given)
	local := words[:len(words)-1]
	if p.verb == "get" {
		local = words[len(words)-1:]
	}
	for i, path := range local {
		local[i] = p.absolute(path)
	}
	size := 0
	for _, word := range words {
		if size += len(word); size > maxRecordedPaths || !utf8.ValidString(word) {
			return nil
		}
	}
	return words
}

// absolute returns the absolute path of a local file.
func (p *copyPlan) absolute(path string) string {
	dir, err := os.Getwd()
	if err != nil || filepath.IsAbs(path) || path == "-" && p.stdin != "" {
		return path
	}
	if p.placeholders {
		dir = strings.ReplaceAll(dir, "%", "%%")
	}
	// It is not cleaned: that would change the meaning of a trailing slash and of a link before "..".
	return dir + string(filepath.Separator) + path
}

// measure returns how much each host will be sent. It returns nil if that cannot be found out, or when
// stopped is closed.
func (p *copyPlan) measure(stopped <-chan struct{}) []results.Amount {
	amounts := make([]results.Amount, len(p.hosts))
	known := make(map[string]results.Amount)
	for i := range p.hosts {
		sources, _, err := p.paths(i)
		if err != nil {
			return nil
		}
		for _, source := range sources {
			amount, ok := known[source]
			if !ok {
				if amount, err = amountOf(source, stopped); err != nil {
					return nil
				}
				known[source] = amount
			}
			amounts[i].Files += amount.Files
			amounts[i].Bytes += amount.Bytes
		}
	}
	return amounts
}

// bytes returns how many bytes each host will be sent, nil as measure does.
func (p *copyPlan) bytes(stopped <-chan struct{}) []int64 {
	amounts := p.measure(stopped)
	if amounts == nil {
		return nil
	}
	bytes := make([]int64, len(amounts))
	for i, a := range amounts {
		bytes[i] = a.Bytes
	}
	return bytes
}

var errStopped = errors.New("stopped")

// amountOf returns how much a file is, or all files below a directory.
func amountOf(source string, stopped <-chan struct{}) (results.Amount, error) {
	var amount results.Amount
	// The source itself may be a link; links inside a directory are copied as links.
	if info, err := os.Stat(source); err == nil && info.Mode().IsRegular() {
		return results.Amount{Files: 1, Bytes: info.Size()}, nil
	}
	err := filepath.WalkDir(filepath.Clean(source)+string(filepath.Separator), func(_ string, entry fs.DirEntry, err error) error {
		select {
		case <-stopped:
			return errStopped
		default:
		}
		if err != nil {
			return nil // the copy reports the error
		}
		if info, err := entry.Info(); err == nil && !info.IsDir() {
			amount.Files++
			if info.Mode().IsRegular() {
				amount.Bytes += info.Size()
			}
		}
		return nil
	})
	return amount, err
}
