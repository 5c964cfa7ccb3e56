package inventory

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"fleetssh"
	"fleetssh/hostset"
	"fleetssh/internal/nearest"
)

// A Condition is a condition on a variable of a host. It comes from [ParseCondition].
type Condition struct {
	text, name, op string

	values []value // one of them must match
	number float64 // for <, <=, > and >=
}

// A value is what the value of a variable is compared with.
type value struct {
	pattern *regexp.Regexp
	truth   bool // if isTruth is set, booleans are compared with truth
	isTruth bool
}

// ParseCondition parses a condition:
//
//	role=db          the value is db
//	role=db,cache    it is one of these values
//	role!=db,cache   it is none of these values; true as well if there is no such variable
//	os=debian*       "*" matches any text, "?" one character
//	role=*           the host has the variable
//	role!=*          it does not
//	memory>=64       a number: also <, <= and >
//
// Values are texts, numbers and booleans. Numbers are compared as they are written, except by <, <=, >
// and >=. Booleans match yes and no in all forms that Ansible accepts. A list matches if one of its
// elements does.
func ParseCondition(text string) (Condition, error) {
	if !utf8.ValidString(text) {
		return Condition{}, fmt.Errorf("%q is not valid UTF-8", text)
	}
	at := strings.IndexAny(text, "=!<>")
	if at < 0 {
		return Condition{}, fmt.Errorf("%q is not a condition: write NAME=VALUE or NAME!=VALUE", text)
	}
	c := Condition{text: text, name: strings.TrimSpace(text[:at])}
	for _, op := range []string{"==", "!=", "<=", ">=", "=", "<", ">"} {
		if strings.HasPrefix(text[at:], op) {
			c.op = op
			break
		}
	}
	rest := strings.TrimSpace(text[at+len(c.op):])
	switch {
	case c.name == "":
		return Condition{}, fmt.Errorf("%q has no variable before %s", text, text[at:])
	case strings.ContainsAny(c.name, " \t,&|()"):
		return Condition{}, fmt.Errorf("%q is not the name of a variable", c.name)
	case c.op == "":
		return Condition{}, fmt.Errorf("%q has no operator: =, !=, <, <=, > or >=", text)
	case rest == "": // probably an unset variable in a script
		return Condition{}, fmt.Errorf("%q has no value after %s", text, c.op)
	case strings.Contains(rest, "&&") || strings.Contains(rest, "||"):
		return Condition{}, fmt.Errorf("%q has several conditions: && and || are not understood", text)
	}
	if c.op == "==" {
		c.op = "="
	}
	if c.op == "<" || c.op == "<=" || c.op == ">" || c.op == ">=" {
		number, ok := numberOf(rest)
		if !ok {
			return Condition{}, fmt.Errorf("%q: %q is not a number", text, rest)
		}
		c.number = number
		return c, nil
	}
	for word := range strings.SplitSeq(rest, ",") {
		word = strings.TrimSpace(word)
		if word == "" {
			return Condition{}, fmt.Errorf("%q has an empty value", text)
		}
		pattern := strings.NewReplacer(`\*`, ".*", `\?`, ".").Replace(regexp.QuoteMeta(word))
		v := value{pattern: regexp.MustCompile("(?s)^" + pattern + "$")}
		truth, err := boolOf(word)
		v.truth, v.isTruth = truth, err == nil
		c.values = append(c.values, v)
	}
	return c, nil
}

// numberOf parses a number.
func numberOf(text string) (float64, bool) {
	n, err := strconv.ParseFloat(text, 64)
	return n, err == nil && n == n
}

// String returns the condition as it was parsed.
func (c Condition) String() string { return c.text }

// holds reports whether a host whose variable has a value meets the condition. found says that the
// host has the variable.
func (c Condition) holds(v any, found bool) (bool, error) {
	if !found {
		return c.op == "!=", nil
	}
	match := false
	elements, isList := v.([]any)
	if !isList {
		elements = []any{v}
	}
	for _, element := range elements {
		ok, err := c.matches(element)
		if err != nil {
			return false, err
		}
		match = match || ok
	}
	return match != (c.op == "!="), nil
}

// matches reports whether a value is one of the values of the condition, or a number within its bound.
func (c Condition) matches(v any) (bool, error) {
	switch v := v.(type) {
	case sealed:
		return false, errors.New("its value is encrypted by ansible-vault")
	case []any, map[string]any:
		return false, errors.New("its value is a dictionary or a list of lists, which no condition can compare")
	case string:
		if strings.Contains(v, "{{") || strings.Contains(v, "{%") {
			return false, errors.New("its value is a template; templates are not evaluated")
		}
	}
	if c.values != nil {
		truth, isTruth := v.(bool)
		return slices.ContainsFunc(c.values, func(w value) bool {
			return w.pattern.MatchString(textOf(v)) || isTruth && w.isTruth && truth == w.truth
		}), nil
	}
	if _, isTruth := v.(bool); isTruth {
		return false, nil
	}
	n, ok := numberOf(textOf(v))
	switch c.op {
	case "<":
		return ok && n < c.number, nil
	case "<=":
		return ok && n <= c.number, nil
	case ">":
		return ok && n > c.number, nil
	}
	return ok && n >= c.number, nil
}

// Where returns the hosts of a set that meet all conditions. A host that is not in the inventory has no
// variables; neither has a host of [ParseHosts], whose settings are no variables. In "user@host:port",
// host is the name in the inventory.
//
// The error is an [*UnknownError] if no host of the inventory has a variable, or a [*SettingError] for
// a host whose value cannot be compared: it is a template, encrypted, or a dictionary.
func (inv *Inventory) Where(set hostset.Set, conditions ...Condition) (hostset.Set, error) {
	for _, c := range conditions {
		if err := inv.checkVariable(c.name); err != nil {
			return hostset.Set{}, err
		}
	}
	var names []string
	for name := range set.All() {
		h := inv.hostNamed(name)
		meets := true
		for _, c := range conditions {
			var v any
			found := false
			if h != nil {
				v, found = inv.variable(h, c.name)
			}
			ok, err := c.holds(v, found)
			if err != nil {
				return hostset.Set{}, &SettingError{Host: h.name, Setting: c.name, Reason: err.Error()}
			}
			meets = meets && ok
		}
		if meets {
			names = append(names, name)
		}
	}
	return hostset.Of(names...), nil
}

// hostNamed returns the host of the files with a name, which may include user and port. It returns nil
// if there is none.
func (inv *Inventory) hostNamed(name string) *host {
	if h := inv.graph.hosts[name]; h != nil {
		return h
	}
	if given, err := fleetssh.ParseHost(name); err == nil {
		return inv.graph.hosts[given.Host]
	}
	return nil
}

// variable returns the value of a variable of a host. See vars.
func (inv *Inventory) variable(h *host, name string) (v any, found bool) {
	for _, vars := range []map[string]any{h.fileVars, h.vars, inv.groupVars(h)} {
		if v, found = vars[name]; found {
			return v, true
		}
	}
	return nil, false
}

// checkVariable returns an [*UnknownError] if no host and no group has a variable with this name.
func (inv *Inventory) checkVariable(name string) error {
	names := make(map[string]bool)
	add := func(vars map[string]any) {
		for name := range vars {
			names[name] = true
		}
	}
	for _, grp := range inv.graph.groups {
		add(grp.vars)
		add(grp.fileVars)
	}
	for _, h := range inv.graph.hosts {
		add(h.vars)
		add(h.fileVars)
	}
	if names[name] {
		return nil
	}
	return &UnknownError{Kind: "variable", Names: []string{name}, Near: nearest.Names(name, slices.Sorted(maps.Keys(names)))}
}
