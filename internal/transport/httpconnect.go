package transport

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"strings"
)

// headLimit limits the bytes that an HTTP proxy sends before the connection begins.
const headLimit = 16 << 10

// httpConnect asks an HTTP proxy for a connection to t (RFC 9110, section 9.3.6).
func httpConnect(proxy net.Conn, login *login, t target) (net.Conn, error) {
	if _, err := proxy.Write(httpRequest(login, t)); err != nil {
		return nil, err
	}
	r := bufio.NewReaderSize(proxy, headLimit)
	a, err := readHTTPAnswer(r)
	if err != nil {
		return nil, err
	}
	if err := a.refusal(login); err != nil {
		return nil, err
	}
	if r.Buffered() == 0 {
		return proxy, nil
	}
	ahead, err := r.Peek(r.Buffered())
	return &aheadConn{Conn: proxy, ahead: bytes.Clone(ahead)}, err
}

func httpRequest(login *login, t target) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n", t, t)
	if login != nil { // RFC 7617, section 2
		pair := base64.StdEncoding.EncodeToString([]byte(login.user + ":" + login.password))
		fmt.Fprintf(&b, "Proxy-Authorization: Basic %s\r\n", pair)
	}
	b.WriteString("\r\n")
	return b.Bytes()
}

// httpAnswer is the response to CONNECT.
type httpAnswer struct {
	status string // three digits
	reason string // as sent
	squid  string // the value of X-Squid-Error
}

// readHTTPAnswer reads the final response up to the empty line after its header. It leaves the
// bytes after that in r, whose buffer has headLimit bytes.
func readHTTPAnswer(r *bufio.Reader) (httpAnswer, error) {
	for left := headLimit; ; {
		a, err := readHTTPHead(r, &left)
		// There may be interim responses before the final one (RFC 9110, section 15.2).
		if err != nil || a.status[0] != '1' {
			return a, err
		}
	}
}

// readHTTPHead reads one status line and its header, of at most left bytes.
func readHTTPHead(r *bufio.Reader, left *int) (httpAnswer, error) {
	line, err := readHTTPLine(r, left)
	if err != nil {
		return httpAnswer{}, err
	}
	// RFC 9112, section 4: HTTP/1.1 SP 3DIGIT SP [reason]
	version, rest, _ := strings.Cut(line, " ")
	status, reason, _ := strings.Cut(rest, " ")
	if !strings.HasPrefix(version, "HTTP/1.") || !isHTTPStatus(status) {
		return httpAnswer{}, fmt.Errorf("it does not speak HTTP: its answer begins with %q", harmless(line, 60))
	}
	a := httpAnswer{status: status, reason: reason}
	for {
		line, err := readHTTPLine(r, left)
		if err != nil || line == "" {
			return a, err
		}
		if name, value, _ := strings.Cut(line, ":"); strings.EqualFold(name, "X-Squid-Error") {
			a.squid = strings.TrimSpace(value)
		}
	}
}

func isHTTPStatus(s string) bool {
	return len(s) == 3 && s[0] >= '1' && s[0] <= '5' && s[1] >= '0' && s[1] <= '9' && s[2] >= '0' && s[2] <= '9'
}

// readHTTPLine reads a line and returns it without its line end.
func readHTTPLine(r *bufio.Reader, left *int) (string, error) {
	line, err := r.ReadSlice('\n')
	if *left -= len(line); *left < 0 || errors.Is(err, bufio.ErrBufferFull) {
		return "", fmt.Errorf("its answer has a header of more than %d bytes", headLimit)
	}
	if err != nil {
		return "", err
	}
	return strings.TrimSuffix(string(line[:len(line)-1]), "\r"), nil
}

// refusal returns the error that a response means, or nil for success.
func (a httpAnswer) refusal(login *login) error {
	text := a.status
	if a.reason != "" {
		text += " " + harmless(a.reason, 100)
	}
	switch {
	case a.status[0] == '2':
		return nil
	case a.status == "407" && login == nil:
		return fmt.Errorf("it refused: %s (the URL has no user and password)", text)
	case a.status == "502", a.status == "504":
		return errTarget{errors.New(text)}
	case a.status == "503" && (strings.HasPrefix(a.squid, "ERR_CONNECT_FAIL") || strings.HasPrefix(a.squid, "ERR_DNS_FAIL")):
		return errTarget{errors.New(text)} // other proxies send 502
	}
	return fmt.Errorf("it refused: %s", text)
}

// aheadConn is a connection of which some bytes have been read ahead. Reads must not overlap.
type aheadConn struct {
	net.Conn
	ahead []byte
}

// Read implements [net.Conn].
func (c *aheadConn) Read(p []byte) (int, error) {
	if len(c.ahead) == 0 {
		return c.Conn.Read(p)
	}
	n := copy(p, c.ahead)
	if c.ahead = c.ahead[n:]; len(c.ahead) == 0 {
		c.ahead = nil
	}
	return n, nil
}
