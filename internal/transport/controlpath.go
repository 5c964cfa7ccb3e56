package transport

import (
	"crypto/sha1"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"fleetssh/internal/account"
)

// ControlPath is the setting ControlPath of ssh_config(5), which names the socket of an OpenSSH
// master, and the values of its tokens.
type ControlPath struct {
	Path string
	Host string
	Port int
	User string // the login name
	Hop  string // the name of the hop in front of the host, as the user wrote it; or empty
}

// Sockets returns the paths at which the socket may be. In OpenSSH 9.6 and later, %C and %j contain
// the name of the last hop. In earlier versions, they do not.
func (c ControlPath) Sockets() ([]string, error) {
	var paths []string
	for _, hop := range []string{c.Hop, ""} {
		path, err := c.expand(hop)
		if err != nil {
			return nil, err
		}
		if len(paths) == 0 || paths[0] != path {
			paths = append(paths, path)
		}
	}
	return paths, nil
}

// expand returns the path with the tokens replaced.
func (c ControlPath) expand(hop string) (string, error) {
	local := account.Current()
	name, err := os.Hostname()
	if err != nil {
		return "", err
	}
	port, host := strconv.Itoa(c.Port), strings.ToLower(c.Host)
	short, _, _ := strings.Cut(name, ".")
	values := map[byte]string{
		'%': "%",
		'C': fmt.Sprintf("%x", sha1.Sum([]byte(name+host+port+c.User+hop))),
		'd': local.Home, 'h': host, 'i': local.UID, 'j': hop, 'k': c.Host,
		'L': short, 'l': name, 'n': c.Host, 'p': port, 'r': c.User, 'u': local.Name,
	}
	var path strings.Builder
	text := account.Expand(c.Path)
	for i := 0; i < len(text); i++ {
		if text[i] != '%' {
			path.WriteByte(text[i])
			continue
		}
		i++
		if i == len(text) {
			return "", errors.New(`it ends with a "%"`)
		}
		value, ok := values[text[i]]
		if ok && value == "" && (text[i] == 'u' || text[i] == 'd') {
			return "", fmt.Errorf("%q: %w", "%"+text[i:i+1], account.ErrNoEntry)
		}
		if !ok {
			return "", fmt.Errorf("%q is not a token of ControlPath", "%"+text[i:i+1])
		}
		path.WriteString(value)
	}
	return path.String(), nil
}
