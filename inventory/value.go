package inventory

import (
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
)

// The values of variables are nil, bool, json.Number, string, sealed, []any and
// map[string]any.

// sealed is a value that only ansible-vault could read.
type sealed struct{}

// MarshalJSON makes a sealed value within another one visible as such.
func (sealed) MarshalJSON() ([]byte, error) { return []byte(`"(encrypted)"`), nil }

// textOf returns a value as a command line would hold it: numbers, text and
// true or false as they are, nothing for null, and everything else as JSON.
func textOf(value any) string {
	switch v := value.(type) {
	case nil:
		return ""
	case string:
		return v
	case bool:
		return strconv.FormatBool(v)
	case json.Number:
		return v.String()
	}
	var text strings.Builder
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(value); err != nil {
		return ""
	}
	return strings.TrimSuffix(text.String(), "\n")
}

// boolOf reads yes or no in all the ways that Ansible takes.
func boolOf(text string) (bool, error) {
	switch strings.ToLower(strings.TrimSpace(text)) {
	case "yes", "y", "true", "t", "on", "1", "1.0":
		return true, nil
	case "no", "n", "false", "f", "off", "0", "0.0":
		return false, nil
	}
	return false, fmt.Errorf("%.80q is neither yes nor no", text)
}

// intOf returns a whole number, which may be given as text.
func intOf(value any) (int, error) {
	switch value.(type) {
	case json.Number, string:
		if n, err := strconv.Atoi(textOf(value)); err == nil {
			return n, nil
		}
	}
	return 0, fmt.Errorf("%.80q is not a whole number", textOf(value))
}

// intValue reads the digits of a number in a base, with underscores.
func intValue(sign, digits string, base int) (any, bool) {
	// The time that takes grows with the square of the length.
	const maxLength = 4000
	if len(digits) > maxLength {
		return nil, false
	}
	n, ok := new(big.Int).SetString(strings.ReplaceAll(digits, "_", ""), base)
	if !ok {
		return nil, false
	}
	if sign == "-" {
		n.Neg(n)
	}
	return json.Number(n.String()), true
}

// floatValue reads a number with a point or an exponent, which JSON can say.
func floatValue(text string) (any, bool) {
	f, err := strconv.ParseFloat(strings.ReplaceAll(text, "_", ""), 64)
	if err != nil || math.IsInf(f, 0) || math.IsNaN(f) {
		return nil, false
	}
	// As Python writes it.
	if size := math.Abs(f); size >= 1e16 || size > 0 && size < 1e-4 {
		return json.Number(strconv.FormatFloat(f, 'e', -1, 64)), true
	}
	out := strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(out, ".") {
		out += ".0"
	}
	return json.Number(out), true
}
