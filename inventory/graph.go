package inventory

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"fleetssh/hostset"
)

// The limits of an inventory, so that no file takes all memory or all time.
const (
	maxHosts  = 1_000_000
	maxGroups = 100_000
	maxLinks  = 5_000_000 // memberships, and variables of hosts and groups
)

// The groups that every inventory has: that of all hosts, and that of those which
// are in no other.
const (
	allGroup       = "all"
	ungroupedGroup = "ungrouped"
)

// A host is what the files say of one name.
type host struct {
	name     string
	groups   map[string]*group // those that name it themselves
	vars     map[string]any
	fileVars map[string]any // of host_vars
	line     *settings      // of a host file, or nil
}

// A group may hold hosts and other groups.
type group struct {
	name     string
	hosts    map[string]*host
	children map[string]*group
	parents  map[string]*group
	vars     map[string]any
	fileVars map[string]any // of group_vars
	priority int            // of two groups at one depth, the higher wins
	depth    int            // the longest way down from "all"
}

// A graph holds hosts and groups, and how they hang together.
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

// host returns the host of a name, which is new if need be.
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

// checkName refuses what no expression could name.
func checkName(name string) error {
	set, err := hostset.Parse(name, nil)
	if err != nil || set.Len() != 1 || !set.Contains(name) {
		return fmt.Errorf("%s cannot be the name of a host", shown(name))
	}
	return nil
}

// group returns the group of a name, which is new if need be.
func (g *graph) group(name string) (*group, error) {
	if grp := g.groups[name]; grp != nil {
		return grp, nil
	}
	switch {
	case len(g.groups) == maxGroups:
		return nil, fmt.Errorf("more than %d groups", maxGroups)
	case name == "" || len(name) > 512 || printable(name) != name || strings.ContainsAny(name, " \t"):
		return nil, fmt.Errorf("%s cannot be the name of a group", shown(name))
	}
	grp := newGroup(name)
	g.groups[name] = grp
	return grp, nil
}

// link counts something that an inventory has many of.
func (g *graph) link() error {
	if g.links++; g.links > maxLinks {
		return fmt.Errorf("more than %d memberships and variables", maxLinks)
	}
	return nil
}

func (g *graph) addHost(grp *group, h *host) error {
	grp.hosts[h.name], h.groups[grp.name] = h, grp
	return g.link()
}

func (g *graph) addChild(parent, child *group) error {
	if parent == child {
		return fmt.Errorf("group %q is part of itself", parent.name)
	}
	parent.children[child.name], child.parents[parent.name] = child, parent
	return g.link()
}

func (g *graph) setHostVar(h *host, name string, value any) error {
	if h.vars == nil {
		h.vars = make(map[string]any)
	}
	h.vars[name] = value
	return g.link()
}

// addHostWithVars adds a host to a group. The port of its pattern is a variable, but
// for Ansible only where the host is first named.
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

// setGroupVar also takes the one variable that is not for hosts.
func (g *graph) setGroupVar(grp *group, name string, value any) error {
	if name != "ansible_group_priority" {
		grp.vars[name] = value
		return g.link()
	}
	n, err := intOf(value)
	grp.priority = n
	return err
}

// settle finishes the graph when all is read: every group is below "all", and every
// host is in some group. It fails if a group is part of itself.
func (g *graph) settle() error {
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
	return g.measure()
}

// measure finds the depth of each group, parents before children.
func (g *graph) measure() error {
	missing := make(map[*group]int, len(g.groups)) // parents without a depth yet
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
		return fmt.Errorf("group %q is part of itself", g.circular(missing))
	}
	return nil
}

// circular names a group of a circle. A group with a parent that could not be
// measured is in one, or below one: upwards there must be one.
func (g *graph) circular(missing map[*group]int) string {
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

// members returns the names of the hosts in a group and in those below it.
func (g *graph) members(grp *group) hostset.Set {
	if grp.name == allGroup {
		return hostset.Of(slices.Collect(maps.Keys(g.hosts))...)
	}
	var names []string
	for _, below := range reach([]*group{grp}, func(grp *group) map[string]*group { return grp.children }) {
		names = slices.AppendSeq(names, maps.Keys(below.hosts))
	}
	return hostset.Of(names...)
}

// above returns the groups that a host is in, in the order in which their variables
// count: the last wins.
func (g *graph) above(h *host) []*group {
	groups := reach(slices.Collect(maps.Values(h.groups)), func(grp *group) map[string]*group { return grp.parents })
	slices.SortFunc(groups, func(a, b *group) int {
		return cmp.Or(cmp.Compare(a.depth, b.depth), cmp.Compare(a.priority, b.priority), cmp.Compare(a.name, b.name))
	})
	return groups
}

// reach returns some groups and all that next leads to, each once.
func reach(from []*group, next func(*group) map[string]*group) []*group {
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

// absorb adds what another graph holds. Where both say something, the other wins.
func (g *graph) absorb(other *graph) error {
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
			// What hangs below "all" alone may have got other parents.
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
		to.line = to.line.over(from.line)
		for in := range from.groups {
			if err := g.addHost(g.groups[in], to); err != nil {
				return err
			}
		}
	}
	return nil
}
