package inventory

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/big"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Ansible and ClusterShell read YAML 1.1: yes is true, 010 is eight and 1:30 is ninety.
var (
	yamlInt   = lazyRegexp(`^([-+]?)(?:0b([01_]+)|0x([0-9a-fA-F_]+)|(0[0-7_]+)|(0|[1-9][0-9_]*))$`)
	yamlFloat = lazyRegexp(`^[-+]?(?:[0-9][0-9_]*\.[0-9_]*(?:[eE][-+][0-9]+)?|\.[0-9][0-9_]*(?:[eE][-+][0-9]+)?)$`)
	yamlTime  = lazyRegexp(`^[-+]?[1-9][0-9_]*(?::[0-5]?[0-9])+$`)
)

// A yamlReader converts nodes to values. Aliases are expanded wherever they are used, so the
// number of values is limited.
type yamlReader struct {
	left int // how many more values may be read
}

const (
	maxAliased = 200_000 // values that come from aliases
	maxNested  = 64
)

var errTooMany = errors.New("aliases expand to too many values")

// newYAMLReader returns a reader for a file of size bytes. A value takes at least one byte and is
// read at most twice, so values beyond 2*size come from aliases.
func newYAMLReader(size int) *yamlReader { return &yamlReader{left: 2*size + maxAliased} }

// decodeYAML returns the only document of a file, nil if the file is empty.
func decodeYAML(data []byte) (*yaml.Node, error) {
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc, more yaml.Node
	if err := dec.Decode(&doc); errors.Is(err, io.EOF) {
		return nil, nil
	} else if err != nil {
		return nil, yamlError(err)
	}
	if err := dec.Decode(&more); !errors.Is(err, io.EOF) {
		if err == nil {
			err = fmt.Errorf("line %d: a second document", more.Line)
		}
		return nil, yamlError(err)
	}
	if doc.Kind == yaml.DocumentNode && len(doc.Content) > 0 {
		return doc.Content[0], nil
	}
	return &doc, nil
}

// yamlError returns an error of the YAML library without the only text of the file that it quotes:
// the name of an alias, which may be a password without quotes.
func yamlError(err error) error {
	if strings.Contains(err.Error(), "anchor '") {
		return errors.New(`an alias has no anchor; a value that begins with "*" needs quotes`)
	}
	return err
}

// yamlFault is an error at a line.
type yamlFault struct {
	line   int
	reason string
}

// Error returns the reason. The line is in the [ParseError].
func (e *yamlFault) Error() string { return e.reason }

func faultAt(node *yaml.Node, format string, args ...any) error {
	return &yamlFault{node.Line, fmt.Sprintf(format, args...)}
}

// atYAML adds the path and the line to an error of a YAML file.
func (r *reader) atYAML(err error) error {
	if err == nil {
		return nil
	}
	var fault *yamlFault
	if errors.As(err, &fault) {
		return r.at(fault.line, err)
	}
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	var line int
	if n, _ := fmt.Sscanf(text, "line %d:", &line); n == 1 {
		_, text, _ = strings.Cut(text, ": ")
	}
	return r.fail(line, "%s", text)
}

// An entry is a key of a mapping with its value.
type entry struct {
	key   string
	node  *yaml.Node // of the key
	value *yaml.Node
}

// resolve returns the node of an alias, or node itself.
func (y *yamlReader) resolve(node *yaml.Node) (*yaml.Node, error) {
	if y.left--; y.left < 0 {
		return nil, errTooMany
	}
	if node.Kind == yaml.AliasNode {
		return node.Alias, nil
	}
	return node, nil
}

// entries returns the entries of a mapping in order, including those of merged mappings. If a key
// occurs twice, the last value wins.
func (y *yamlReader) entries(node *yaml.Node, depth int) ([]entry, error) {
	if depth > maxNested {
		return nil, faultAt(node, "nested more than %d deep", maxNested)
	}
	var own, merged []entry
	for i := 0; i+1 < len(node.Content); i += 2 {
		key, value := node.Content[i], node.Content[i+1]
		if key.ShortTag() == "!!merge" {
			more, err := y.merged(value, depth+1)
			if err != nil {
				return nil, err
			}
			merged = append(merged, more...)
			continue
		}
		key, err := y.resolve(key)
		if err != nil {
			return nil, err
		}
		if key.Kind != yaml.ScalarNode {
			return nil, faultAt(key, "a key that is not text")
		}
		if value, err = y.resolve(value); err != nil {
			return nil, err
		}
		own = append(own, entry{keyText(key), key, value})
	}
	// Later entries win over earlier ones, and all entries over merged ones.
	all := append(merged, own...)
	last := make(map[string]int, len(all))
	for i, e := range all {
		last[e.key] = i
	}
	if len(last) == len(all) {
		return all, nil
	}
	kept := all[:0]
	for i, e := range all {
		if last[e.key] == i {
			kept = append(kept, e)
		}
	}
	return kept, nil
}

// merged returns the entries of "<<": a mapping, or a list of mappings of which the first wins.
func (y *yamlReader) merged(node *yaml.Node, depth int) ([]entry, error) {
	node, err := y.resolve(node)
	if err != nil {
		return nil, err
	}
	switch {
	case depth > maxNested:
		return nil, faultAt(node, "nested more than %d deep", maxNested)
	case node.Kind == yaml.MappingNode:
		return y.entries(node, depth)
	case node.Kind != yaml.SequenceNode:
		return nil, faultAt(node, "only dictionaries can be merged")
	}
	var all []entry
	for _, one := range slices.Backward(node.Content) {
		more, err := y.merged(one, depth+1)
		if err != nil {
			return nil, err
		}
		all = append(all, more...)
	}
	return all, nil
}

// keyText returns a key as text. Numbers and booleans are written as in JSON.
func keyText(key *yaml.Node) string {
	value, err := scalar(key)
	if err != nil || value == nil {
		return key.Value
	}
	return textOf(value)
}

// value returns the value of a node. depth is the number of collections around it.
func (y *yamlReader) value(node *yaml.Node, depth int) (any, error) {
	node, err := y.resolve(node)
	if err != nil {
		return nil, err
	}
	switch node.Kind {
	case yaml.MappingNode:
		all, err := y.entries(node, depth)
		if err != nil {
			return nil, err
		}
		dict := make(map[string]any, len(all))
		for _, e := range all {
			if dict[e.key], err = y.value(e.value, depth+1); err != nil {
				return nil, err
			}
		}
		return dict, nil
	case yaml.SequenceNode:
		if depth > maxNested {
			return nil, faultAt(node, "nested more than %d deep", maxNested)
		}
		list := make([]any, 0, len(node.Content))
		for _, one := range node.Content {
			value, err := y.value(one, depth+1)
			if err != nil {
				return nil, err
			}
			list = append(list, value)
		}
		return list, nil
	}
	return scalar(node)
}

// scalar returns the value of a node that is not a collection.
func scalar(node *yaml.Node) (any, error) {
	text := node.Value
	switch node.Tag {
	case "!vault", "!vault-encrypted":
		return sealed{}, nil
	case "!unsafe":
		return text, nil
	}
	if node.Style&yaml.TaggedStyle != 0 {
		switch tag := node.ShortTag(); tag {
		case "!!str", "!!binary", "!!timestamp":
			return text, nil
		case "!!int", "!!float", "!!bool", "!!null":
		default:
			// The tag may be a password without quotes, so it is not shown.
			return nil, faultAt(node, "unknown tag; a value that begins with %q needs quotes", "!")
		}
	} else if node.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) != 0 {
		return text, nil
	}
	return plain(text), nil
}

// plain returns the value of text without quotes.
func plain(text string) any {
	switch text {
	case "", "~", "null", "Null", "NULL":
		return nil
	case "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON":
		return true
	case "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF":
		return false
	}
	if m := yamlInt().FindStringSubmatch(text); m != nil {
		for i, base := range []int{2, 16, 8, 10} {
			if digits := m[i+2]; digits != "" {
				if value, ok := intValue(m[1], digits, base); ok {
					return value
				}
			}
		}
	}
	if yamlFloat().MatchString(text) {
		if value, ok := floatValue(text); ok {
			return value
		}
	}
	if yamlTime().MatchString(text) {
		if value, ok := sexagesimal(text); ok {
			return value
		}
	}
	return text
}

// sexagesimal parses a number in base 60.
func sexagesimal(text string) (any, bool) {
	const maxParts = 10
	sign := strings.TrimRight(text[:1], "0123456789")
	parts := strings.Split(strings.ReplaceAll(strings.TrimLeft(text, "+-"), "_", ""), ":")
	if len(parts) > maxParts || len(parts[0]) > maxParts {
		return nil, false
	}
	sum := new(big.Int)
	for _, part := range parts {
		n, err := strconv.ParseInt(part, 10, 64)
		if err != nil {
			return nil, false
		}
		sum.Mul(sum, big.NewInt(60)).Add(sum, big.NewInt(n))
	}
	return intValue(sign, sum.String(), 10)
}
