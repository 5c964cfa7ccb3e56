// Package inventory reads lists of hosts, their groups and their settings from
// files: plain lists, inventories of Ansible (INI, YAML, folders, executables) and
// groups of ClusterShell. [Load] says which is which.
//
// What a file says of logging in is put over a base, which gives the rest.
// Variables count as in Ansible: those of "all" least, then those of groups from
// the outer to the inner and by ansible_group_priority and name, then group_vars
// in the same order, then those of the host, and most those of host_vars. These
// say how to log in:
//
//	ansible_host, ansible_port, ansible_user
//	ansible_private_key_file, ansible_ssh_private_key_file
//	ansible_password, ansible_ssh_pass
//	ansible_timeout             seconds to connect
//	ansible_connection          ssh, smart or paramiko; others are errors
//	ansible_ssh_args, ansible_ssh_common_args, ansible_ssh_extra_args
//
//	ansible_host_key_checking, ansible_ssh_host_key_checking
//	ansible_become_password     see [Inventory.BecomePassword]
//
// and the forms with ansible_ssh_ of the first line. A key is a suggestion, as it is to
// ssh: see Identities of [fleetssh.Auth]. Of the arguments of ssh, -J, -i, -l, -p, -F, -A, -a, -K, -k, -4, -6 and -o with every keyword of ssh_config(5) are
// read as ssh reads them; keywords without an effect here are told by
// [Inventory.Ignored]. Letters and keywords about speed, talk, terminals and shared
// connections (-C, -q, -T, Compression, LogLevel, BatchMode, ControlMaster,
// ControlPath, ControlPersist) are left out, and all others are errors. Nothing is
// evaluated: a template in one of these variables is an error as well. Such errors
// come when the host is selected, so that they do not keep others from being so.
package inventory

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"

	"fleetssh"
	"fleetssh/hostset"
	"fleetssh/sshconfig"
)

// Inventory is a list of hosts with groups. It comes from [Load], [ParseHosts] or
// [Merge] and does not change. Any number of goroutines may use it, but for
// settings of the base that say otherwise.
type Inventory struct {
	path    string // for errors
	base    fleetssh.HostConfig
	graph   *graph
	folders []string // where group_vars and host_vars may be, in order
	sources []*source

	mu        sync.Mutex
	layers    map[string]map[string]any       // variables of groups, by the names of the groups
	hops      map[string]*fleetssh.HostConfig // shared by the hosts behind them
	passwords map[string]string               // of files
	policies  map[string]fleetssh.HostKeyPolicy
	configs   map[optionsKey]*sshconfig.File // of ssh, shared by the hosts that have the same
}

func newInventory(path string, base fleetssh.HostConfig) *Inventory {
	return &Inventory{
		path:      path,
		base:      base,
		graph:     newGraph(),
		layers:    make(map[string]map[string]any),
		hops:      make(map[string]*fleetssh.HostConfig),
		passwords: make(map[string]string),
		policies:  make(map[string]fleetssh.HostKeyPolicy),
		configs:   make(map[optionsKey]*sshconfig.File),
	}
}

// Merge returns an inventory of all that several know, as if they were files of one
// folder: groups of one name are one group, and what comes later wins. Its base is
// that of the first, and so is the default source of groups. It reads the
// variables in group_vars and host_vars again, now for all hosts and groups. The
// error is a [*ParseError].
func Merge(first *Inventory, more ...*Inventory) (*Inventory, error) {
	all := append([]*Inventory{first}, more...)
	var paths []string
	for _, inv := range all {
		paths = append(paths, inv.path)
	}
	merged := newInventory(strings.Join(paths, ", "), first.base)
	for _, inv := range all {
		for _, folder := range inv.folders {
			merged.addFolder(folder)
		}
		fail := func(err error) error {
			return &ParseError{Path: inv.path, Reason: err.Error(), err: err}
		}
		if err := merged.graph.absorb(inv.graph); err != nil {
			return nil, fail(err)
		}
		for _, s := range inv.sources {
			if err := merged.addSource(s); err != nil {
				return nil, fail(err)
			}
		}
	}
	if err := merged.finish(); err != nil {
		return nil, err
	}
	return merged, nil
}

// finish is called once all files are read.
func (inv *Inventory) finish() error {
	if err := inv.graph.settle(); err != nil {
		return &ParseError{Path: inv.path, Reason: err.Error(), err: err}
	}
	return inv.readVarFiles()
}

// Names returns the names of all hosts in natural order. Those that only a source
// of groups knows are there if it has an upcall "all" or "list". The error is a
// [*ParseError] for an upcall that failed.
func (inv *Inventory) Names() ([]string, error) {
	set, err := inv.all()
	return set.Names(), err
}

// all returns the hosts of the files and those of the default source.
func (inv *Inventory) all() (hostset.Set, error) {
	set := inv.graph.members(inv.graph.groups[allGroup])
	if len(inv.sources) == 0 {
		return set, nil
	}
	expr, err := inv.sources[0].all()
	if errors.Is(err, errNoUpcall) {
		return set, nil
	}
	if err != nil {
		return set, err
	}
	more, err := hostset.Parse(expr, func(name string) (string, error) {
		if name == "*" {
			return "", errors.New("all hosts cannot be given by wildcards, which choose from all hosts")
		}
		return inv.Groups(name)
	})
	if err != nil {
		return set, inv.sources[0].fail("all hosts", err)
	}
	return set.Union(more), nil
}

// GroupNames returns the names of all groups in natural order. Those of a source
// that is not the default one are written "source:group". Sources without an
// upcall "list" are left out, and so are those whose upcall failed: the error is a
// [*ParseError] for the first of them.
func (inv *Inventory) GroupNames() ([]string, error) {
	names := slices.Collect(maps.Keys(inv.graph.groups))
	var failed error
	for i, s := range inv.sources {
		groups, err := s.list()
		if err != nil && !errors.Is(err, errNoUpcall) && failed == nil {
			failed = err
		}
		for _, name := range groups {
			if i > 0 {
				name = s.name + ":" + name
			}
			names = append(names, name)
		}
	}
	return hostset.Of(names...).Names(), failed
}

// Groups resolves the groups of the inventory for [hostset.Parse]: "group",
// "source:group" of ClusterShell, and "*" and "all", which are all hosts. What is
// in a file goes before what a source knows. The error is an [*UnknownError] for a
// group that nobody knows, or a [*ParseError] for an upcall that failed.
func (inv *Inventory) Groups(name string) (expr string, err error) {
	if name == "*" || name == allGroup {
		set, err := inv.all()
		if err == nil && set.Len() == 0 && len(inv.sources) > 0 {
			return inv.sources[0].everything()
		}
		return set.String(), err
	}
	if grp := inv.graph.groups[name]; grp != nil {
		return inv.graph.members(grp).String(), nil
	}
	for _, s := range inv.sources {
		if group, ok := strings.CutPrefix(name, s.name+":"); ok {
			if group == "*" {
				return s.everything()
			}
			return inv.ask(s, group, name)
		}
	}
	if len(inv.sources) > 0 && !strings.Contains(name, ":") {
		return inv.ask(inv.sources[0], name, name)
	}
	return "", inv.unknownGroup(name)
}

// ask returns what a source says of a group. No hosts can mean that there is no
// such group.
func (inv *Inventory) ask(s *source, group, name string) (string, error) {
	expr, err := s.hosts(group)
	if err != nil || strings.TrimSpace(expr) != "" {
		return expr, err
	}
	groups, err := s.list()
	if errors.Is(err, errNoUpcall) || slices.Contains(groups, group) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	return "", inv.unknownGroup(name)
}

func (inv *Inventory) unknownGroup(name string) error {
	known, _ := inv.GroupNames() // for a hint, some will do
	return &UnknownError{Kind: "group", Names: []string{name}, Near: nearest(name, known)}
}

// GroupsOf returns the names of the groups that a host is in, also by way of other
// groups, in natural order and written as by [Inventory.GroupNames]. Sources are
// asked by their upcall "reverse" and left out if they have none. The error is a
// [*ParseError] for an upcall that failed.
func (inv *Inventory) GroupsOf(name string) ([]string, error) {
	var names []string
	if h := inv.graph.hosts[name]; h != nil {
		for _, grp := range inv.graph.above(h) {
			names = append(names, grp.name)
		}
	}
	for i, s := range inv.sources {
		groups, err := s.reverse(name, inv.Groups)
		if errors.Is(err, errNoUpcall) {
			continue
		}
		if err != nil {
			return nil, err
		}
		for _, group := range groups {
			if i > 0 {
				group = s.name + ":" + group
			}
			names = append(names, group)
		}
	}
	return hostset.Of(names...).Names(), nil
}

// Select returns the hosts that expr names, in natural order, each with its settings
// over the base. Groups and wildcards are those of the inventory. Where the name
// of a host differs from its address, the name is the Alias. The user and the port
// of "user@host:port" go before those of the inventory.
//
// The error is a [*hostset.ParseError], an [*UnknownError] for names the inventory
// does not know, or a [*SettingError] for a host that cannot be logged in to as
// the inventory says. Where a source of groups cannot say which hosts there are,
// all names are known.
func (inv *Inventory) Select(expr string) ([]fleetssh.HostConfig, error) {
	set, err := hostset.Parse(expr, inv.Groups)
	if err != nil {
		return nil, err
	}
	known, err := inv.knower()
	if err != nil {
		return nil, err
	}
	configs := make([]fleetssh.HostConfig, 0, set.Len())
	var unknown []string
	for name := range set.All() {
		given, short := fleetssh.HostConfig{}, name
		if !known(name) {
			given, err = fleetssh.ParseHost(name)
			if short = given.Host; err != nil || !known(short) {
				unknown = append(unknown, name)
				continue
			}
		}
		config, err := inv.config(short)
		if err != nil {
			return nil, err
		}
		if given.User != "" {
			config.User = given.User
		}
		if given.Port != 0 {
			config.Port = given.Port
		}
		configs = append(configs, config)
	}
	if len(unknown) > 0 {
		all, err := inv.all()
		if err != nil {
			return nil, err
		}
		return nil, &UnknownError{Kind: "host", Names: unknown, Near: nearest(unknown[0], all.Names())}
	}
	return configs, nil
}

// knower returns a function that says whether there is a host of a name.
func (inv *Inventory) knower() (func(name string) bool, error) {
	if len(inv.sources) == 0 {
		return func(name string) bool { return inv.graph.hosts[name] != nil }, nil
	}
	_, err := inv.sources[0].all()
	if errors.Is(err, errNoUpcall) {
		return func(name string) bool { return true }, nil
	}
	all, err := inv.all()
	if err != nil {
		return nil, err
	}
	// Hosts of groups that were asked for exist, whatever "all" says.
	for _, s := range inv.sources {
		for _, expr := range s.answers() {
			if set, err := hostset.Parse(expr, inv.Groups); err == nil {
				all = all.Union(set)
			}
		}
	}
	return all.Contains, nil
}

// config returns the base with the settings of a known host.
func (inv *Inventory) config(name string) (fleetssh.HostConfig, error) {
	config := inv.base
	config.Host, config.Alias = name, ""
	h := inv.graph.hosts[name]
	var err error
	if h != nil && h.line != nil {
		err = h.line.apply(inv, &config)
	} else {
		// What ssh would be given as its argument can hold a user, too.
		if given, err := fleetssh.ParseHost(name); err == nil {
			config.Host = given.Host
			if given.User != "" {
				config.User = given.User
			}
			if given.Port != 0 {
				config.Port = given.Port
			}
		}
		if h != nil {
			err = inv.connect(h, &config)
		}
	}
	if config.Host != name {
		config.Alias = name
	}
	return config, err
}

// Vars returns the variables of a host, for use as [fleetssh.Command.HostArgs]:
// those of its groups and its own, which win. Lists and dictionaries are written as
// JSON, null as nothing. Templates are not evaluated, and what is encrypted is left
// out. A host that is not known has none.
func (inv *Inventory) Vars(host string) fleetssh.Args {
	args := fleetssh.Args{Map: make(map[string]string)}
	if h := inv.graph.hosts[host]; h != nil {
		for name, value := range inv.vars(h) {
			if _, ok := value.(sealed); !ok {
				args.Map[name] = textOf(value)
			}
		}
	}
	return args
}

// vars returns the variables of a host. Those of all its groups go before those of
// the host, and those of files of their own before those of the inventory.
func (inv *Inventory) vars(h *host) map[string]any {
	key := strings.Join(slices.Sorted(maps.Keys(h.groups)), "\n")
	inv.mu.Lock()
	defer inv.mu.Unlock()
	layer, ok := inv.layers[key]
	if !ok {
		groups := inv.graph.above(h) // "all" is the first
		layer = make(map[string]any)
		for _, grp := range groups {
			maps.Copy(layer, grp.vars)
		}
		for _, grp := range groups {
			maps.Copy(layer, grp.fileVars)
		}
		inv.layers[key] = layer
	}
	all := maps.Clone(layer)
	if all == nil {
		all = make(map[string]any)
	}
	maps.Copy(all, h.vars)
	maps.Copy(all, h.fileVars)
	return all
}
