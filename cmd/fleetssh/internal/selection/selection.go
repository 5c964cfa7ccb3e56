// Package selection turns a command line into hosts: it has the flags that select hosts and set how to
// reach them and log in, reads host lists, inventories and ssh_config, and asks for passwords.
package selection

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"

	"github.com/spf13/pflag"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/exit"
	"fleetssh/cmd/fleetssh/internal/flagvalue"
	"fleetssh/hostset"
	"fleetssh/inventory"
)

// ExprFlags are the flags that select hosts: expressions, groups, inventories and host lists.
type ExprFlags struct {
	Exprs, exclude, Groups []string
	All                    bool
	Hostfiles, Inventories []string
	where                  []string
	limit                  string
	pick                   int
	Config                 string // a file in the format of ssh_config, in place of the user's; "none": no file

	stdin          io.Reader                                           // for "-"
	inventory      *inventory.Inventory                                // once read
	listed         hostset.Set                                         // the hosts of hostfiles, once read
	recorded       func(name string) (expr string, ok bool, err error) // as Env.Recorded
	empty          []string                                            // expressions that match no host
	warn           func(text, host string)                             // warns about ignored settings; nil: no warnings
	sshConfigNames func() []string                                     // the hosts that ssh_config names; nil: it is not read
}

// ExprHelp is the help text of these flags.
const ExprHelp = `Choosing hosts:
  -w, --hosts EXPR          hosts to work on; may be given several times:
                            web[01-20]  a,b  rack[1-3]n[0-9/3]  user@host:port
                            a!b (without)  a&b (in both)  a^b (in one of them)
                            @group  @*  web* (of the inventory, or ssh_config)
                            ^FILE (expressions in a file)  - (on standard input)
                            @last:failed  @last:exit=3  @last:slow>30s
                            @last:block=2 (hosts of an earlier run, see runs)
  -x, --exclude EXPR        hosts to leave out; a name alone stands for all of
                            its users and ports
  -g, --group NAME          the hosts of a group, as -w @NAME
  -a, --all                 all hosts of the inventory, as -w @*
      --inventory FILE      hosts, groups and settings: of Ansible (INI, YAML, a
                            program, a directory) or ClusterShell (groups.conf)
      --hostfile FILE       hosts, one per line: [user@]host[:port] [key=value...]
                            (all of them, unless -w, -g or -a chooses)
      --where CONDITION     keep only the hosts whose inventory variables meet it:
                            role=db  role=db,cache  role!=db  os=debian*  mem>=64
                            (all conditions, if given several times; all hosts of
                            the inventory, unless -w, -g or -a chooses)
      --limit EXPR          keep only the hosts that EXPR matches too
      --pick N              pick N of them at random
`

// Register adds the flags to a verb.
func (f *ExprFlags) Register(flags *pflag.FlagSet) {
	flags.StringArrayVarP(&f.Exprs, "hosts", "w", nil, "")
	flags.StringArrayVarP(&f.exclude, "exclude", "x", nil, "")
	flags.StringArrayVarP(&f.Groups, "group", "g", nil, "")
	flags.BoolVarP(&f.All, "all", "a", false, "")
	flags.StringArrayVar(&f.Hostfiles, "hostfile", nil, "")
	flags.StringArrayVar(&f.Inventories, "inventory", nil, "")
	flags.StringArrayVar(&f.where, "where", nil, "")
	flags.Var(flagvalue.NonEmpty{To: &f.limit}, "limit", "")
	flags.Var(flagvalue.Number{To: &f.pick, Min: 1, Max: 1_000_000}, "pick", "")
}

// Prepare connects the flags to the program. Without it, expressions cannot use standard input, earlier
// runs and the hosts of ssh_config.
func (f *ExprFlags) Prepare(env *Env) {
	f.stdin, f.recorded, f.warn = env.In, env.Recorded, env.Warn
	if env.Redirect == nil { // the demo is the same everywhere
		f.sshConfigNames = func() []string { return NamesInSSHConfig(f.Config) }
	}
}

// AddArgs adds the hosts that are arguments of a verb. They replace the hosts of the user's settings.
func (f *ExprFlags) AddArgs(args []string, env *Env) {
	if len(args) > 0 && env.Origin("hosts") != "" {
		f.Exprs = nil
	}
	f.Exprs = append(f.Exprs, args...)
}

// Select returns the hosts in natural order. base has the settings that neither the inventory nor the
// name sets.
func (f *ExprFlags) Select(base fleetssh.HostConfig) ([]Host, error) {
	inv, err := f.Inventory(base)
	if err != nil {
		return nil, err
	}
	f.inventory = inv
	set, err := f.selected(inv)
	if err != nil {
		return nil, err
	}
	without, err := f.parse("-x", f.exclude, inv)
	if err != nil {
		return nil, err
	}
	left, err := parseExclusions(without)
	if err != nil {
		return nil, err
	}
	find := func(string) (fleetssh.HostConfig, bool, error) { return fleetssh.HostConfig{}, false, nil }
	if inv != nil {
		if find, err = inv.Lookup(); err != nil {
			return nil, fmt.Errorf("inventory: %w", err)
		}
	}
	entries := make([]Host, 0, set.Len())
	for name := range set.All() {
		e, err := hostOf(name, find, base)
		if err != nil {
			return nil, err
		}
		e.Given = name
		if !without.Contains(e.Name) && !left.has(&e.Config) {
			f.addInventory(&e, inv)
			entries = append(entries, e)
		}
	}
	if len(entries) == 0 {
		return nil, f.noHosts(set.Len() > 0)
	}
	setLabels(entries)
	return entries, nil
}

// addInventory adds sudo passwords and warnings from the inventory to a host.
func (f *ExprFlags) addInventory(e *Host, inv *inventory.Inventory) {
	if inv == nil || e.Config.Unusable != nil {
		return
	}
	e.ownConfig = inv.OwnConfiguration(e.Name)
	e.sudo, e.sudoErr = inv.BecomePassword(e.Name)
	if f.warn == nil {
		return
	}
	for _, ignored := range inv.Unsupported(e.Name) {
		f.warn("inventory: "+ignored.String(), e.Name)
	}
}

// noHosts returns the error for an empty selection, with the reason.
func (f *ExprFlags) noHosts(some bool) error {
	hint := "name hosts with -w, as in -w 'web[1-20]'"
	switch {
	case some:
		hint = "-x excludes all hosts that match"
	case len(f.empty) > 0:
		hint = f.emptyHint(f.empty[0])
	case len(f.where) > 0:
		hint = "--where: no host meets " + strings.Join(f.where, " and ")
	case f.limit != "":
		hint = "--limit excludes all hosts that match"
	case f.All:
		hint = "the inventory has no hosts"
	case len(f.Hostfiles) > 0:
		hint = "--hostfile: the list has no hosts"
	}
	return exit.UsageError(hint, "no host selected")
}

// emptyHint returns why an expression matches no host.
func (f *ExprFlags) emptyHint(expr string) string {
	name, isGroup := strings.CutPrefix(strings.TrimSpace(expr), "@")
	if isGroup && f.recorded != nil && !strings.ContainsAny(name, ",!&^") {
		if _, ok, err := f.recorded(name); ok && err == nil {
			return expr + ": no host of that run is in this class; fleetssh runs show lists them"
		}
	}
	switch {
	case strings.ContainsAny(expr, "!&^"):
		return expr + ": no host is left after the operators"
	case isGroup:
		return expr + ": the group has no hosts; fleetssh hosts --groups lists the groups"
	case strings.ContainsAny(expr, "*?"):
		return expr + ": no host or group matches"
	}
	return expr + ": no host matches"
}

// hostOf returns the host with a name, which may include user and port. find looks it up in the
// inventory. A host with wrong settings in the inventory is unusable; other hosts are not affected.
func hostOf(name string, find func(string) (fleetssh.HostConfig, bool, error), base fleetssh.HostConfig) (Host, error) {
	unusable := func(host string, err error) (Host, error) {
		if _, ofHost := errors.AsType[*inventory.SettingError](err); !ofHost {
			return Host{}, exit.AsUsage(err)
		}
		config := base
		config.Host, config.Unusable = host, err
		return Host{Config: config, Name: host}, nil
	}
	// The inventory may have a host whose name cannot be parsed.
	config, known, err := find(name)
	if err != nil {
		return unusable(name, err)
	}
	if known {
		return Host{Config: config, Name: name}, nil
	}
	given, err := fleetssh.ParseHost(name)
	if err != nil {
		return Host{}, exit.UsageError(nameHint(name), "%v", err)
	}
	if config, known, err = find(given.Host); err != nil {
		return unusable(given.Host, err)
	}
	if !known {
		config = base
		config.Host = given.Host
	}
	return withGiven(Host{Config: config, Name: given.Host}, given), nil
}

// nameHint returns the correct spelling of what an invalid name was meant to be.
func nameHint(name string) string {
	switch {
	case strings.ContainsAny(name, "{}"):
		return "ranges are written with brackets, as in 'web[1-3]', and lists with commas"
	case strings.ContainsAny(name, ";|&"):
		return "hosts are separated by commas"
	case strings.Contains(name, "="):
		return "host settings go into a file: see --hostfile"
	}
	return ""
}

// withGiven sets the user and the port that the name of a host includes.
func withGiven(e Host, given fleetssh.HostConfig) Host {
	if given.User != "" {
		e.Config.User = given.User
	}
	if given.Port != 0 {
		e.Config.Port = given.Port
	}
	return e
}

// Inventory reads the inventories and host lists. It returns nil if the flags name none.
func (f *ExprFlags) Inventory(base fleetssh.HostConfig) (*inventory.Inventory, error) {
	var all []*inventory.Inventory
	for _, path := range f.Inventories {
		inv, err := inventory.Load(path, base)
		if err != nil {
			return nil, exit.UsageError("", "--inventory: %v", err)
		}
		all = append(all, inv)
	}
	for _, path := range f.Hostfiles {
		data, err := f.read(path)
		if err != nil {
			return nil, fmt.Errorf("--hostfile: %w", err)
		}
		inv, err := inventory.ParseHosts(bytes.NewReader(data), path, base)
		if err != nil {
			return nil, exit.UsageError("", "--hostfile: %v", err)
		}
		names, err := inv.Names()
		if err != nil {
			return nil, fmt.Errorf("--hostfile: %w", err)
		}
		f.listed = f.listed.Union(hostset.Of(names...))
		all = append(all, inv)
	}
	if len(all) == 0 {
		return nil, nil
	}
	merged, err := inventory.Merge(all[0], all[1:]...)
	if err != nil {
		return nil, exit.UsageError("", "%v", err)
	}
	return merged, nil
}

// maxHostList is the largest list of hosts that is read.
const maxHostList = 64 << 20

// read returns the content of a file, or of standard input.
func (f *ExprFlags) read(path string) ([]byte, error) {
	in := f.stdin
	if path != "-" {
		file, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer file.Close()
		in = file
	}
	if in == nil {
		return nil, errors.New("there is no standard input")
	}
	data, err := io.ReadAll(io.LimitReader(in, maxHostList+1))
	if err == nil && len(data) > maxHostList {
		err = fmt.Errorf("%s: more than %d MiB", path, maxHostList>>20)
	}
	return data, err
}

// selected returns the selected names.
func (f *ExprFlags) selected(inv *inventory.Inventory) (hostset.Set, error) {
	exprs := f.Exprs
	for _, group := range f.Groups {
		exprs = append(exprs, "@"+group)
	}
	if f.All || len(exprs) == 0 && len(f.where) > 0 && len(f.Hostfiles) == 0 {
		exprs = append(exprs, "@*")
	}
	if len(f.where) > 0 && inv == nil {
		return hostset.Set{}, exit.UsageError("name one with --inventory", "--where: there is no inventory")
	}
	set, err := f.parse("-w", exprs, inv)
	if err != nil {
		return set, err
	}
	if len(exprs) == 0 {
		set = f.listed
	}
	if f.limit != "" {
		limit, err := f.parse("--limit", []string{f.limit}, inv)
		if err != nil {
			return set, err
		}
		set = set.Intersect(limit)
	}
	if set, err = f.meeting(set, inv); err != nil {
		return set, err
	}
	if f.pick > 0 {
		set = set.Pick(f.pick, rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())))
	}
	return set, nil
}

// meeting returns the hosts that meet the conditions of --where.
func (f *ExprFlags) meeting(set hostset.Set, inv *inventory.Inventory) (hostset.Set, error) {
	if len(f.where) == 0 {
		return set, nil
	}
	conditions := make([]inventory.Condition, len(f.where))
	for i, text := range f.where {
		var err error
		if conditions[i], err = inventory.ParseCondition(text); err != nil {
			return set, exit.UsageError("--where may be given several times: hosts must meet all conditions; a comma separates values", "--where: %v", err)
		}
	}
	set, err := inv.Where(set, conditions...)
	if err != nil {
		return set, exit.UsageError("", "--where: %v", err)
	}
	return set, nil
}

// parse returns the union of the expressions of a flag.
func (f *ExprFlags) parse(flag string, exprs []string, inv *inventory.Inventory) (hostset.Set, error) {
	var all hostset.Set
	for _, expr := range exprs {
		if strings.TrimSpace(expr) == "" { // probably an unset variable in a script: neither all hosts nor none would be safe
			return all, exit.UsageError("", "%s: it is empty", flag)
		}
		full, err := f.expandFiles(expr)
		if err != nil {
			return all, fmt.Errorf("%s: %w", flag, err)
		}
		set, err := hostset.Parse(full, func(name string) (string, error) { return f.group(name, full, inv) })
		if err != nil {
			return all, exit.UsageError(groupHint(err), "%s: %v", flag, err)
		}
		if set.Len() == 0 && flag == "-w" {
			f.empty = append(f.empty, expr)
		}
		all = all.Union(set)
	}
	return all, nil
}

// group returns the hosts of a group of the inventory, or of an earlier run. Without an inventory,
// wildcards of expr match the hosts that ssh_config names; "all hosts" never does.
func (f *ExprFlags) group(name, expr string, inv *inventory.Inventory) (string, error) {
	if f.recorded != nil {
		if expr, ok, err := f.recorded(name); ok {
			return expr, err
		}
	}
	if inv == nil && name == "*" && f.sshConfigNames != nil && !strings.Contains(expr, "@*") {
		if names := f.sshConfigNames(); len(names) > 0 {
			return hostset.Of(names...).String(), nil
		}
	}
	if inv == nil {
		return "", errNoInventory
	}
	return inv.Groups(name)
}

// errNoInventory means that there is nothing for groups and wildcards to match.
var errNoInventory = errors.New("there is no inventory")

// groupHint returns which flags name groups, if there are none, or the hint of the group's own error.
func groupHint(err error) string {
	if usage, ok := errors.AsType[*exit.Error](err); ok {
		return usage.Hint
	}
	if errors.Is(err, errNoInventory) {
		return "groups and wildcards need --inventory or --hostfile"
	}
	return ""
}

// expandFiles replaces ^FILE by the content of the file, and "-" by standard input. Both must be whole
// terms of a list; a caret elsewhere is an operator.
func (f *ExprFlags) expandFiles(expr string) (string, error) {
	if !strings.ContainsAny(expr, "^-") {
		return expr, nil
	}
	terms := flagvalue.SplitHosts(expr)
	for i, term := range terms {
		trimmed := strings.TrimSpace(term)
		path, isFile := strings.CutPrefix(trimmed, "^")
		if trimmed != "-" && !isFile {
			continue
		}
		if !isFile {
			path = "-"
		}
		data, err := f.read(path)
		if err != nil {
			return "", err
		}
		if bytes.IndexByte(data, 0) >= 0 || bytes.HasPrefix(data, []byte("$ANSIBLE_VAULT;")) {
			return "", fmt.Errorf("%s: not a list of hosts", path)
		}
		terms[i] = listOf(data)
	}
	return strings.Join(terms, ","), nil
}

// listOf joins lines of expressions into one. It drops comments.
func listOf(data []byte) string {
	var terms []string
	for line := range strings.Lines(string(data)) {
		line, _, _ = strings.Cut(line, "#")
		if line = strings.TrimSpace(line); line != "" {
			terms = append(terms, line)
		}
	}
	return strings.Join(terms, ",")
}
