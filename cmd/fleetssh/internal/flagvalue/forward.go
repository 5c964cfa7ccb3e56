package flagvalue

import (
	"errors"
	"net"
	"strings"
)

var errForward = errors.New("write [bind:]port or /socket, a colon, and host:port or /socket")

// ParseForward parses the value of -L or -R, as ssh does, and returns both ends for the library.
func ParseForward(text string) (listen, target string, err error) {
	fields, err := forwardFields(text)
	if err != nil {
		return "", "", err
	}
	n := len(fields)
	cut := n - 2 // index of the target
	if n > 0 && isSocket(fields[n-1]) {
		cut = n - 1
	}
	if cut < 1 {
		return "", "", errForward
	}
	if listen, err = joinBind(fields[:cut]); err != nil {
		return "", "", err
	}
	if target = fields[cut]; n-cut == 2 {
		if target == "" || isSocket(target) {
			return "", "", errForward
		}
		target = net.JoinHostPort(target, fields[n-1])
	}
	return listen, target, nil
}

// ParseBind parses the value of -D or --serve.
func ParseBind(text string) (string, error) {
	fields, err := forwardFields(text)
	if err != nil {
		return "", err
	}
	return joinBind(fields)
}

// joinBind returns the address to listen on. An empty host means all addresses, as with ssh.
func joinBind(fields []string) (string, error) {
	switch {
	case len(fields) == 1 && fields[0] != "":
		return fields[0], nil
	case len(fields) != 2 || isSocket(fields[0]):
		return "", errors.New("write [bind:]port or /socket to listen on")
	case fields[0] == "":
		return "*:" + fields[1], nil
	}
	return net.JoinHostPort(fields[0], fields[1]), nil
}

func isSocket(field string) bool { return strings.HasPrefix(field, "/") }

// forwardFields splits a value at colons. IPv6 addresses are in brackets.
func forwardFields(text string) ([]string, error) {
	var fields []string
	for {
		field, rest, more := strings.Cut(text, ":")
		if strings.HasPrefix(text, "[") {
			var closed bool
			if field, rest, closed = strings.Cut(text[1:], "]"); !closed {
				return nil, errors.New(`a "]" is missing`)
			}
			more = strings.HasPrefix(rest, ":")
			if rest != "" && !more {
				return nil, errForward
			}
			rest = strings.TrimPrefix(rest, ":")
		}
		fields = append(fields, field)
		if !more {
			return fields, nil
		}
		text = rest
	}
}
