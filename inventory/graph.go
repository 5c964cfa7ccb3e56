package inventory

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"fleetssh/hostset"
)

// The limits of an inventory, which keep any file from taking too much memory or time.
const (
	maxHosts  = 1_000_000
	maxGroups = 100_000
	maxLinks  = 5_000_000 // memberships and variables of hosts and groups
)

// The groups of every inventory: all hosts, and the hosts that are in no other group.
const (
	allGroup       = "all"
	ungroupedGroup = "ungrouped"
)

// A host is a host as the files describe it.
type host struct {
	name     string
	groups   map[string]*group // that contain it directly
	vars     map[string]any
	fileVars map[string]any // in host_vars
	line     *settings      // in a list of hosts, or nil
}

// A group contains hosts and other groups.
type group struct {
	name     string
	hosts    map[string]*host
	children map[string]*group
	parents  map[string]*group
	vars     map[string]any
	fileVars map[string]any // in group_vars
	priority int            // of groups with the same depth, the one with the highest priority wins
	depth    int            // the length of the longest path from "all"
}

// A graph holds hosts, groups and memberships.
type graph struct {
	hosts  map[string]*host
	groups map[string]*group
	links  int
}

func newGraph() *graph {
	g := &graph{hosts: make(map[string]*host), groups: make(map[string]*group)}
	g.groups[allGroup] = newGroup(allGroup)
	g.groups[ungroupedGroup] = newGroup(ungroupedGroup)
	return g
}

func newGroup(name string) *group {
	return &group{
		name:     name,
		hosts:    make(map[string]*host),
		children: make(map[string]*group),
		parents:  make(map[string]*group),
		vars:     make(map[string]any),
		priority: 1,
	}
}

// host returns the host with a name. It adds the host if it is new.
func (g *graph) host(name string) (*host, error) {
	if h := g.hosts[name]; h != nil {
		return h, nil
	}
	if len(g.hosts) == maxHosts {
		return nil, fmt.Errorf("more than %d hosts", maxHosts)
	}
	if err := checkName(name); err != nil {
		return nil, err
	}
	h := &host{name: name, groups: make(map[string]*group)}
	g.hosts[name] = h
	return h, nil
}

// checkName refuses names that no expression can denote.
func checkName(name string) error {
	set, err := hostset.Parse(name, nil)
	if err != nil || set.Len() != 1 || !set.Contains(name) {
		return fmt.Errorf("%s is not a valid host name", shown(name))
	}
	return nil
}

// group returns the group with a name. It adds the group if it is new.
func (g *graph) group(name string) (*group, error) {
	if grp := g.groups[name]; grp != nil {
		return grp, nil
	}
	switch {
	case len(g.groups) == maxGroups:
		return nil, fmt.Errorf("more than %d groups", maxGroups)
	case name == "" || len(name) > 512 || printable(name) != name || strings.ContainsAny(name, " \t"):
		return nil, fmt.Errorf("%s is not a valid group name", shown(name))
	}
	grp := newGroup(name)
	g.groups[name] = grp
	return grp, nil
}

// countLink counts a membership or a variable.
func (g *graph) countLink() error {
	if g.links++; g.links > maxLinks {
		return fmt.Errorf("more than %d memberships and variables", maxLinks)
	}
	return nil
}

func (g *graph) addHost(grp *group, h *host) error {
	grp.hosts[h.name], h.groups[grp.name] = h, grp
	return g.countLink()
}

func (g *graph) addChild(parent, child *group) error {
	if parent == child {
		return fmt.Errorf("group %q contains itself", parent.name)
	}
	parent.children[child.name], child.parents[parent.name] = child, parent
	return g.countLink()
}

func (g *graph) setHostVar(h *host, name string, value any) error {
	if h.vars == nil {
		h.vars = make(map[string]any)
	}
	h.vars[name] = value
	return g.countLink()
}

// addHostWithVars adds a host to a group. The port in its pattern becomes a variable, as for
// Ansible only where the host appears first.
func (g *graph) addHostWithVars(grp *group, name string, port any, vars map[string]any) error {
	isNew := g.hosts[name] == nil
	h, err := g.host(name)
	if err != nil {
		return err
	}
	if err := g.addHost(grp, h); err != nil {
		return err
	}
	if port != nil && isNew {
		if err := g.setHostVar(h, "ansible_port", port); err != nil {
			return err
		}
	}
	for key, value := range vars {
		if err := g.setHostVar(h, key, value); err != nil {
			return err
		}
	}
	return nil
}

// setGroupVar sets a variable of a group, or its priority.
func (g *graph) setGroupVar(grp *group, name string, value any) error {
	if name != "ansible_group_priority" {
		grp.vars[name] = value
		return g.countLink()
	}
	n, err := intOf(value)
	grp.priority = n
	return err
}

// complete completes the graph when everything has been read: it puts each group below "all", and
// each host into at least one group. It fails if a group contains itself.
func (g *graph) complete() error {
	all, ungrouped := g.groups[allGroup], g.groups[ungroupedGroup]
	for _, grp := range g.groups {
		if grp != all && len(grp.parents) == 0 {
			all.children[grp.name], grp.parents[allGroup] = grp, all
		}
	}
	for _, h := range g.hosts {
		others := len(h.groups)
		for _, name := range []string{allGroup, ungroupedGroup} {
			if h.groups[name] != nil {
				others--
			}
		}
		if others == 0 {
			ungrouped.hosts[h.name], h.groups[ungroupedGroup] = h, ungrouped
		} else {
			delete(ungrouped.hosts, h.name)
			delete(h.groups, ungroupedGroup)
		}
	}
	return g.setDepths()
}

// setDepths sets the depth of each group, parents before children.
func (g *graph) setDepths() error {
	missing := make(map[*group]int, len(g.groups)) // number of parents without a depth
	var ready []*group
	for _, grp := range g.groups {
		grp.depth = 0
		if missing[grp] = len(grp.parents); missing[grp] == 0 {
			ready = append(ready, grp)
		}
	}
	done := 0
	for ; len(ready) > 0; done++ {
		grp := ready[len(ready)-1]
		ready = ready[:len(ready)-1]
		for _, child := range grp.children {
			child.depth = max(child.depth, grp.depth+1)
			if missing[child]--; missing[child] == 0 {
				ready = append(ready, child)
			}
		}
	}
	if done < len(g.groups) {
		return fmt.Errorf("group %q contains itself", g.findCycle(missing))
	}
	return nil
}

// findCycle returns the name of a group in a cycle. A group with a parent without a depth is in a
// cycle or below one, so following such parents leads into a cycle.
func (g *graph) findCycle(missing map[*group]int) string {
	var at *group
	for _, name := range slices.Sorted(maps.Keys(g.groups)) {
		if missing[g.groups[name]] > 0 {
			at = g.groups[name]
			break
		}
	}
	for seen := make(map[*group]bool); !seen[at]; {
		seen[at] = true
		for _, name := range slices.Sorted(maps.Keys(at.parents)) {
			if missing[at.parents[name]] > 0 {
				at = at.parents[name]
				break
			}
		}
	}
	return at.name
}

// members returns the names of the hosts in a group and in the groups below it.
func (g *graph) members(grp *group) hostset.Set {
	if grp.name == allGroup {
		return hostset.Of(slices.Collect(maps.Keys(g.hosts))...)
	}
	var names []string
	for _, below := range reachable([]*group{grp}, func(grp *group) map[string]*group { return grp.children }) {
		names = slices.AppendSeq(names, maps.Keys(below.hosts))
	}
	return hostset.Of(names...)
}

// groupsOf returns the groups that contain a host, in the order of precedence: variables of the
// last group win.
func (g *graph) groupsOf(h *host) []*group {
	groups := reachable(slices.Collect(maps.Values(h.groups)), func(grp *group) map[string]*group { return grp.parents })
	slices.SortFunc(groups, func(a, b *group) int {
		return cmp.Or(cmp.Compare(a.depth, b.depth), cmp.Compare(a.priority, b.priority), cmp.Compare(a.name, b.name))
	})
	return groups
}

// reachable returns the given groups and all that can be reached from them with next, each once.
func reachable(from []*group, next func(*group) map[string]*group) []*group {
	seen := make(map[*group]bool)
	var all []*group
	for len(from) > 0 {
		grp := from[len(from)-1]
		from = from[:len(from)-1]
		if seen[grp] {
			continue
		}
		seen[grp] = true
		all = append(all, grp)
		from = slices.AppendSeq(from, maps.Values(next(grp)))
	}
	return all
}

// merge adds another graph, whose settings win.
func (g *graph) merge(other *graph) error {
	for name, from := range other.groups {
		to, err := g.group(name)
		if err != nil {
			return err
		}
		for key, value := range from.vars {
			if err := g.setGroupVar(to, key, value); err != nil {
				return err
			}
		}
		if from.priority != 1 {
			to.priority = from.priority
		}
	}
	for name, from := range other.groups {
		for child := range from.children {
			// complete puts groups below "all" if they have no parent in the merged graph.
			if name == allGroup {
				continue
			}
			if err := g.addChild(g.groups[name], g.groups[child]); err != nil {
				return err
			}
		}
	}
	for name, from := range other.hosts {
		to, err := g.host(name)
		if err != nil {
			return err
		}
		for key, value := range from.vars {
			if err := g.setHostVar(to, key, value); err != nil {
				return err
			}
		}
		to.line = to.line.overriddenBy(from.line)
		for in := range from.groups {
			if err := g.addHost(g.groups[in], to); err != nil {
				return err
			}
		}
	}
	return nil
}
