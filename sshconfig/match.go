package sshconfig

import (
	"errors"
	"fmt"
	"strings"
)

// A condition is a Host or a Match line.
type condition struct {
	at       origin
	hosts    []string    // the patterns of Host
	criteria []criterion // of Match
}

// A criterion is one test of a Match line.
type criterion struct {
	name    string // in lower case
	arg     string
	negated bool
}

// parseCriteria parses the words of a Match line. Name and value are separated by a space or "=".
func parseCriteria(args []string) ([]criterion, error) {
	var criteria []criterion
	for i := 0; i < len(args); i++ {
		name, value, found := strings.Cut(args[i], "=")
		c := criterion{name: strings.ToLower(name)}
		c.name, c.negated = strings.CutPrefix(c.name, "!")
		switch c.name {
		case "all":
			if len(criteria) > 1 || i+1 < len(args) {
				return nil, errors.New(`"all" cannot be combined with other criteria`)
			}
		case "canonical", "final":
		case "host", "originalhost", "user", "localuser", "exec", "tagged", "localnetwork", "command", "sessiontype", "version":
			if !found && i+1 < len(args) { // "host x", "host =x", "host = x"
				i++
				value, found = strings.CutPrefix(args[i], "=")
			}
			if value == "" && found && i+1 < len(args) {
				i++
				value = args[i]
			}
			if value == "" {
				return nil, fmt.Errorf("%q has no value", c.name)
			}
			c.arg = value
		default:
			return nil, fmt.Errorf("%q is not a criterion", c.name)
		}
		criteria = append(criteria, c)
	}
	if len(criteria) == 0 {
		return nil, errors.New("the criterion is missing")
	}
	return criteria, nil
}

// holds reports whether the section of a Host or Match line applies.
func (p *pass) holds(c *condition) (bool, error) {
	if c.criteria == nil {
		return matchesHost(c.hosts, p.host), nil
	}
	all := true
	for _, criterion := range c.criteria {
		is, err := p.meets(criterion, all)
		if err != nil {
			return false, c.at.errorf("Match %s: %w", criterion.name, err)
		}
		all = all && is
	}
	return all, nil
}

// matchesHost reports whether a host matches the patterns of a Host line.
func matchesHost(patterns []string, host string) bool {
	found := false
	for _, pattern := range patterns {
		pattern, negated := strings.CutPrefix(pattern, "!")
		if !matches(pattern, host) {
			continue
		}
		if negated {
			return false
		}
		found = true
	}
	return found
}

// meets evaluates one criterion with the settings known so far. It runs a command only if the
// result matters. See ssh_config(5), "Match".
func (p *pass) meets(c criterion, matters bool) (bool, error) {
	var is bool
	var err error
	switch c.name {
	case "all":
		is = true
	case "canonical", "final":
		is = p.final
	case "host":
		host, err := p.target()
		if err != nil {
			return false, err
		}
		is = matchesList(strings.ToLower(c.arg), strings.ToLower(host))
	case "originalhost":
		is = matchesList(strings.ToLower(c.arg), strings.ToLower(p.alias))
	case "user":
		is = matchesList(c.arg, p.user())
	case "localuser":
		is = matchesList(c.arg, p.file.local.user)
	case "tagged":
		is = matchesList(c.arg, p.one(keyTag))
	case "sessiontype":
		is = matchesList(c.arg, "exec")
	case "localnetwork":
		is, err = p.onNetwork(c.arg)
	case "exec":
		is, err = p.execs(c.arg, matters)
	case "command", "version":
		return false, nil // see [File.Unsupported]
	}
	return is != c.negated, err
}

func (p *pass) onNetwork(list string) (bool, error) {
	all, err := p.file.addresses()
	if err != nil {
		return false, err
	}
	for _, a := range all {
		if matchesNetwork(list, a.WithZone("").Unmap()) {
			return true, nil
		}
	}
	return false, nil
}

// execs runs the command of a Match exec.
func (p *pass) execs(command string, matters bool) (bool, error) {
	host, err := p.target()
	if err != nil {
		return false, err
	}
	line, err := p.tokens(host).expand(command)
	if err != nil || !matters {
		return false, err
	}
	return p.file.execs.holds(p.ctx, line)
}
