package inventory

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
)

// The values of variables are nil, bool, json.Number, string, sealed, []any and
// map[string]any.

// sealed is a value that ansible-vault has encrypted.
type sealed struct{}

// textOf returns a value that is not a list or a dictionary as text. It returns "" for null.
func textOf(value any) string {
	switch v := value.(type) {
	case string:
		return v
	case bool:
		return strconv.FormatBool(v)
	case json.Number:
		return v.String()
	}
	return ""
}

// boolOf parses yes or no in all forms that Ansible accepts.
func boolOf(text string) (bool, error) {
	switch strings.ToLower(strings.TrimSpace(text)) {
	case "yes", "y", "true", "t", "on", "1", "1.0":
		return true, nil
	case "no", "n", "false", "f", "off", "0", "0.0":
		return false, nil
	}
	return false, fmt.Errorf("%.80q is neither yes nor no", text)
}

// intOf returns the value of a whole number, which may be written as text.
func intOf(value any) (int, error) {
	switch value.(type) {
	case json.Number, string:
		if n, err := strconv.Atoi(textOf(value)); err == nil {
			return n, nil
		}
	}
	if text := textOf(value); text != "" {
		return 0, fmt.Errorf("%.80q is not a whole number", text)
	}
	return 0, errors.New("the value is not a whole number")
}

// intValue parses the digits of a number, which may contain underscores.
func intValue(sign, digits string, base int) (any, bool) {
	// Parsing takes time proportional to the square of the length.
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

// floatValue parses a number with a point or an exponent. It refuses numbers that JSON cannot
// represent.
func floatValue(text string) (any, bool) {
	f, err := strconv.ParseFloat(strings.ReplaceAll(text, "_", ""), 64)
	if err != nil || math.IsInf(f, 0) || math.IsNaN(f) {
		return nil, false
	}
	// Format it as Python does.
	if size := math.Abs(f); size >= 1e16 || size > 0 && size < 1e-4 {
		return json.Number(strconv.FormatFloat(f, 'e', -1, 64)), true
	}
	out := strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(out, ".") {
		out += ".0"
	}
	return json.Number(out), true
}
