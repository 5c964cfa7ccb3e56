package inventory

import (
	"fmt"
	"slices"

	"go.yaml.in/yaml/v3"
)

// yaml adds a YAML file: an Ansible inventory, or groups of ClusterShell.
func (r *reader) yaml() error {
	root, err := decodeYAML([]byte(r.text))
	if err != nil {
		return r.atYAML(err)
	}
	if root == nil || isNull(root) {
		return nil // an empty file has no hosts
	}
	if root.Kind != yaml.MappingNode {
		return r.fail(0, "it is not a dictionary of groups")
	}
	y := &yamlTree{reader: r, yamlReader: newYAMLReader(len(r.text))}
	top, err := y.entries(root, 0)
	if err != nil {
		return r.atYAML(err)
	}
	if slices.ContainsFunc(top, func(e entry) bool { return e.key == "plugin" && e.value.Kind == yaml.ScalarNode }) {
		return r.fail(root.Line, "it configures an Ansible plugin, which is not supported; an executable that answers --list is")
	}
	if y.isClusterShell(top) {
		return r.atYAML(y.groupSources(top))
	}
	for _, e := range top {
		if err := y.group(e, 0); err != nil {
			return r.atYAML(err)
		}
	}
	return nil
}

// A yamlTree reads Ansible's YAML form.
type yamlTree struct {
	*reader
	*yamlReader
}

// isClusterShell reports whether the file contains groups of ClusterShell: a group with contents
// that no group of Ansible has.
func (y *yamlTree) isClusterShell(top []entry) bool {
	for _, e := range top {
		if e.value.Kind != yaml.MappingNode {
			continue
		}
		for i := 0; i+1 < len(e.value.Content); i += 2 {
			key, value := e.value.Content[i], e.value.Content[i+1]
			known := key.Value == "hosts" || key.Value == "vars" || key.Value == "children" || key.Value == "<<"
			if !known && (value.Kind == yaml.ScalarNode && value.ShortTag() != "!!null" || value.Kind == yaml.SequenceNode) {
				return true
			}
		}
	}
	return false
}

// group reads a group. depth is the number of groups around it.
func (y *yamlTree) group(e entry, depth int) error {
	grp, err := y.inv.graph.group(e.node.Value)
	if err != nil {
		return faultAt(e.node, "%v", err)
	}
	if isNull(e.value) {
		return nil
	}
	if e.value.Kind != yaml.MappingNode {
		return faultAt(e.value, "group %q is not a dictionary", e.key)
	}
	parts, err := y.entries(e.value, depth)
	if err != nil {
		return err
	}
	for _, part := range parts {
		content, err := y.part(grp, part, depth)
		if err != nil {
			return err
		}
		for _, one := range content {
			if err := y.add(grp, part.key, one, depth+1); err != nil {
				return err
			}
		}
	}
	return nil
}

// part returns the entries of the hosts, vars or children of a group. A single entry may be
// written as text instead of a dictionary.
func (y *yamlTree) part(grp *group, part entry, depth int) ([]entry, error) {
	switch part.key {
	case "hosts", "vars", "children":
	default:
		return nil, faultAt(part.node, "group %q contains %.80q; it may contain hosts, vars and children", grp.name, part.key)
	}
	switch {
	case isNull(part.value):
		return nil, nil
	case part.value.Kind == yaml.ScalarNode:
		return []entry{{part.value.Value, part.value, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null", Line: part.value.Line}}}, nil
	case part.value.Kind != yaml.MappingNode:
		return nil, faultAt(part.value, "the %s of group %q are not a dictionary", part.key, grp.name)
	}
	return y.entries(part.value, depth+1)
}

// add adds a host, a variable or a child to a group.
func (y *yamlTree) add(grp *group, part string, e entry, depth int) error {
	var err error
	switch part {
	case "hosts":
		return y.hosts(grp, e, depth)
	case "vars":
		var value any
		if value, err = y.value(e.value, depth+1); err != nil {
			return err
		}
		err = y.inv.graph.setGroupVar(grp, e.key, value)
	case "children":
		if depth > maxNested {
			return faultAt(e.node, "groups nested more than %d deep", maxNested)
		}
		if err := y.group(e, depth+1); err != nil {
			return err
		}
		err = y.inv.graph.addChild(grp, y.inv.graph.groups[e.node.Value])
	}
	if err != nil {
		return faultAt(e.node, "%v", err)
	}
	return nil
}

// hosts adds the hosts of a pattern, with their variables.
func (y *yamlTree) hosts(grp *group, e entry, depth int) error {
	vars := map[string]any{}
	if !isNull(e.value) {
		value, err := y.value(e.value, depth+1)
		if err != nil {
			return err
		}
		var ok bool
		if vars, ok = value.(map[string]any); !ok {
			return faultAt(e.value, "the variables of %.80q are not a dictionary", e.key)
		}
	}
	names, port, err := expandPattern(e.node.Value)
	if err != nil {
		return faultAt(e.node, "%v", err)
	}
	for _, name := range names {
		if err := y.inv.graph.addHostWithVars(grp, name, port, vars); err != nil {
			return faultAt(e.node, "%v", err)
		}
	}
	return nil
}

func isNull(node *yaml.Node) bool {
	if node.Kind != yaml.ScalarNode {
		return false
	}
	value, err := scalar(node)
	return err == nil && value == nil
}

// groupSources adds group sources of ClusterShell, each a dictionary of groups.
func (y *yamlTree) groupSources(top []entry) error {
	for _, e := range top {
		if e.value.Kind != yaml.MappingNode {
			return faultAt(e.value, "source %q is not a dictionary of groups", e.key)
		}
		groups, err := y.entries(e.value, 0)
		if err != nil {
			return err
		}
		s := &source{name: e.node.Value, path: y.path, line: e.node.Line, groups: make(map[string]string)}
		for _, grp := range groups {
			value, err := y.value(grp.value, 0)
			if err != nil {
				return err
			}
			if s.groups[grp.node.Value], err = hostsOf(value); err != nil {
				return faultAt(grp.node, "group %q %v", grp.key, err)
			}
		}
		if err := y.inv.addSource(s); err != nil {
			return faultAt(e.node, "%v", err)
		}
	}
	return nil
}

// hostsOf returns the expression of a group, which may be a list of expressions.
func hostsOf(value any) (string, error) {
	switch v := value.(type) {
	case []any:
		var all string
		for _, one := range v {
			if _, nested := one.([]any); nested {
				return "", fmt.Errorf("is a list of lists")
			}
			expr, err := hostsOf(one)
			if err != nil {
				return "", err
			}
			all += expr + ","
		}
		return all, nil
	case map[string]any, bool, sealed:
		return "", fmt.Errorf("is neither text nor a list of hosts")
	}
	return textOf(value), nil
}
