package sshconfig

import (
	"errors"
	"fmt"
	"math"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"
)

// read checks the values of a keyword and returns them in a normalized form: choices in the
// spelling of the manual page, times in seconds. text is the rest of the line after the keyword,
// args its words.
func (k *keyword) read(text string, args []string) ([]string, error) {
	switch k.kind {
	case loose:
		return []string{text}, nil
	case rest:
		return []string{strings.TrimLeft(text, whiteSpace+"=")}, nil
	case jumps:
		text, _, _ = strings.Cut(strings.TrimLeft(text, whiteSpace+"="), "#")
		text, err := readJumps(strings.TrimRight(text, whiteSpace))
		return []string{text}, err
	}
	if len(args) == 0 || slices.Contains(args, "") {
		return nil, errors.New("the value is empty")
	}
	switch k.kind {
	case words:
		return args, nil
	case files:
		if len(args) > 1 && slices.Contains(args, "none") {
			return nil, errors.New(`"none" cannot be combined with files`)
		}
		return args, nil
	case environ:
		return readVariables(args)
	}
	if len(args) > 1 {
		return nil, fmt.Errorf("%q is more than one value", strings.Join(args, " "))
	}
	value, err := k.readOne(args[0])
	if err != nil {
		return nil, err
	}
	return []string{value}, nil
}

// readVariables checks the variables of SetEnv. The first value of a variable wins.
func readVariables(args []string) ([]string, error) {
	var variables []string
	for _, arg := range args {
		name, _, found := strings.Cut(arg, "=")
		if !found {
			return nil, errors.New("it is not of the form NAME=value") // it may be a secret, so it is not shown
		}
		if !slices.ContainsFunc(variables, func(v string) bool { return strings.HasPrefix(v, name+"=") }) {
			variables = append(variables, arg)
		}
	}
	return variables, nil
}

// readOne checks the value of a keyword that takes one word.
func (k *keyword) readOne(s string) (string, error) {
	switch k.kind {
	case choice:
		for i := 0; i < len(k.choices); i += 2 {
			if strings.EqualFold(s, k.choices[i]) {
				return k.choices[i+1], nil
			}
		}
		return "", fmt.Errorf("%q is not an allowed value", s)
	case number:
		n, err := strconv.ParseUint(strings.TrimPrefix(s, "+"), 10, 31)
		if err != nil || n == 0 && k.name == "ConnectionAttempts" {
			return "", fmt.Errorf("%q is not an allowed number", s)
		}
		return strconv.FormatUint(n, 10), nil
	case port:
		n, err := parsePort(s)
		return strconv.Itoa(n), err
	case seconds:
		d, err := parseTime(s)
		if d < 0 {
			return "none", err
		}
		return strconv.Itoa(int(d / time.Second)), err
	case names:
		if strings.Trim(s, ",+-^") == "" {
			return "", fmt.Errorf("%q names no algorithm", s)
		}
	}
	return s, nil
}

// parsePort parses a port number or the name of a service.
func parsePort(s string) (int, error) {
	n, err := strconv.ParseUint(strings.TrimPrefix(s, "+"), 10, 16)
	if err != nil && s != "" && (s[0] < '0' || s[0] > '9') && s[0] != '-' && s[0] != '+' {
		var named int
		if named, err = net.LookupPort("tcp", s); err == nil {
			n = uint64(named)
		}
	}
	if err != nil || n == 0 {
		return 0, fmt.Errorf("%q is not a port", s)
	}
	return int(n), nil
}

// parseTime parses a time: see sshd_config(5), "TIME FORMATS". It returns a negative time for
// "none".
func parseTime(s string) (time.Duration, error) {
	if s == "none" {
		return -1, nil
	}
	invalid := fmt.Errorf("%q is not a time", s)
	var total int64
	for left := s; left != "" || s == ""; {
		digits := strings.TrimLeft(left, "0123456789")
		n, err := strconv.ParseInt(left[:len(left)-len(digits)], 10, 32)
		if err != nil {
			return 0, invalid
		}
		left = digits
		unit := int64(1)
		if left != "" {
			switch left[0] {
			case 's', 'S':
			case 'm', 'M':
				unit = 60
			case 'h', 'H':
				unit = 60 * 60
			case 'd', 'D':
				unit = 24 * 60 * 60
			case 'w', 'W':
				unit = 7 * 24 * 60 * 60
			default:
				return 0, invalid
			}
			left = left[1:]
		}
		if total += n * unit; total > math.MaxInt32 {
			return 0, invalid
		}
	}
	return time.Duration(total) * time.Second, nil
}
