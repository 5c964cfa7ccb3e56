package inventory

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"

	"fleetssh"
	"fleetssh/hostset"
	"fleetssh/internal/nearest"
	"fleetssh/sshconfig"
)

// Inventory is a set of hosts with groups and settings. It comes from [Load], [ParseHosts] or
// [Merge]; the zero value must not be used. An Inventory is immutable, and its methods may be
// called by multiple goroutines at once. They may run upcalls of ClusterShell, which take up to 30
// seconds each.
type Inventory struct {
	path    string // for error messages
	base    fleetssh.HostConfig
	graph   *graph
	folders []string // that may contain group_vars and host_vars, in order
	sources []*source

	mu        sync.Mutex                      // protects what follows
	layers    map[string]map[string]any       // variables of groups, by the names of the groups
	hops      map[string]*fleetssh.HostConfig // shared by the hosts behind them
	passwords map[string]string               // by file
	policies  map[string]*fleetssh.KnownHosts
	configs   map[optionsKey]*sshconfig.File // configurations of ssh, shared by hosts with the same arguments
}

func newInventory(path string, base fleetssh.HostConfig) *Inventory {
	return &Inventory{
		path:      path,
		base:      base,
		graph:     newGraph(),
		layers:    make(map[string]map[string]any),
		hops:      make(map[string]*fleetssh.HostConfig),
		passwords: make(map[string]string),
		policies:  make(map[string]*fleetssh.KnownHosts),
		configs:   make(map[optionsKey]*sshconfig.File),
	}
}

// Merge returns an inventory with the hosts and groups of several inventories, as if they were
// files of one folder: groups with the same name become one group, and later settings win. The
// base and the default source of groups are those of first. Merge reads group_vars and host_vars
// again, since they may concern hosts and groups of other inventories. The error is a
// [*ParseError].
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
		if err := merged.graph.merge(inv.graph); err != nil {
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

// finish completes the inventory when all files have been read.
func (inv *Inventory) finish() error {
	if err := inv.graph.complete(); err != nil {
		return &ParseError{Path: inv.path, Reason: err.Error(), err: err}
	}
	return inv.readVarFiles()
}

// Names returns the names of all hosts in natural order (see package hostset). It includes the
// hosts of the default source of groups if the source has an upcall "all" or "list". The error is
// a [*ParseError] if an upcall fails.
func (inv *Inventory) Names() ([]string, error) {
	set, err := inv.all()
	return set.Names(), err
}

// all returns the hosts in files and those of the default source.
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
			return "", errors.New("wildcards cannot define all hosts, since they choose from all hosts")
		}
		return inv.Groups(name)
	})
	if err != nil {
		return set, inv.sources[0].fail("all hosts", err)
	}
	return set.Union(more), nil
}

// GroupNames returns the names of all groups in natural order. Groups of a source that is not the
// default source are named "source:group". Sources without an upcall "list" are left out, as are
// sources whose upcall fails. For the first of the latter the error is a [*ParseError]; the other
// names are still returned.
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

// Groups returns the expression of a group. It is a [hostset.Groups], for [hostset.Parse]. name is
// "group" or, for ClusterShell, "source:group"; "*" and "all" are all hosts. Groups in files take
// precedence over groups of sources. The error is an [*UnknownError] if there is no such group, or
// a [*ParseError] if an upcall fails.
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

// ask returns the expression of a group of a source. An empty answer may mean that there is no such
// group.
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
	known, _ := inv.GroupNames() // an incomplete list is good enough for a suggestion
	return &UnknownError{Kind: "group", Names: []string{name}, Near: nearest.Names(name, known)}
}

// GroupsOf returns the names of the groups that contain a host, directly or through other groups,
// in natural order and in the form of [Inventory.GroupNames]. Sources without an upcall "reverse"
// are left out. GroupsOf returns no groups for an unknown host. The error is a [*ParseError] if an
// upcall fails.
func (inv *Inventory) GroupsOf(name string) ([]string, error) {
	var names []string
	if h := inv.graph.hosts[name]; h != nil {
		for _, grp := range inv.graph.groupsOf(h) {
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

// Select returns the hosts that expr denotes, in natural order, each with its settings.
// [hostset.Parse] describes expr; groups and wildcards refer to the inventory. If the name of a
// host differs from its address, the name becomes the Alias. In "user@host:port", user and port
// take precedence over the inventory.
//
// The error is a [*hostset.ParseError], an [*UnknownError] for hosts that are not in the
// inventory, a [*SettingError] for a host with unusable settings, or a [*ParseError] if an upcall
// fails. If the default source of groups cannot list all hosts, any host name is accepted.
func (inv *Inventory) Select(expr string) ([]fleetssh.HostConfig, error) {
	set, err := hostset.Parse(expr, inv.Groups)
	if err != nil {
		return nil, err
	}
	known, err := inv.knownHosts()
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
		return nil, &UnknownError{Kind: "host", Names: unknown, Near: nearest.Names(unknown[0], all.Names())}
	}
	return configs, nil
}

// knownHosts returns a function that reports whether a host is in the inventory.
func (inv *Inventory) knownHosts() (func(name string) bool, error) {
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
	// Hosts in the groups asked for so far exist, even if "all" does not list them.
	for _, s := range inv.sources {
		for _, expr := range s.answers() {
			if set, err := hostset.Parse(expr, inv.Groups); err == nil {
				all = all.Union(set)
			}
		}
	}
	return all.Contains, nil
}

// config returns the configuration of a known host: the base with the settings of the host.
func (inv *Inventory) config(name string) (fleetssh.HostConfig, error) {
	config := inv.base
	config.Host, config.Alias = name, ""
	h := inv.graph.hosts[name]
	var err error
	if h != nil && h.line != nil {
		err = h.line.apply(inv, &config)
	} else {
		// The name may contain a user and a port, like an argument of ssh.
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

// vars returns the variables of a host. Those of the host take precedence over those of its
// groups. On each of these levels, files in group_vars and host_vars take precedence over the
// inventory itself.
func (inv *Inventory) vars(h *host) map[string]any {
	all := maps.Clone(inv.groupVars(h))
	if all == nil {
		all = make(map[string]any)
	}
	maps.Copy(all, h.vars)
	maps.Copy(all, h.fileVars)
	return all
}

// groupVars returns the variables of the groups of a host. The map must not be changed.
func (inv *Inventory) groupVars(h *host) map[string]any {
	key := strings.Join(slices.Sorted(maps.Keys(h.groups)), "\n")
	inv.mu.Lock()
	defer inv.mu.Unlock()
	layer, ok := inv.layers[key]
	if !ok {
		groups := inv.graph.groupsOf(h) // "all" is the first
		layer = make(map[string]any)
		for _, grp := range groups {
			maps.Copy(layer, grp.vars)
		}
		for _, grp := range groups {
			maps.Copy(layer, grp.fileVars)
		}
		inv.layers[key] = layer
	}
	return layer
}
