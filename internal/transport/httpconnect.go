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

// headLimit bounds what an HTTP proxy may say before the connection begins.
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

// httpAnswer is what matters of the answer to CONNECT.
type httpAnswer struct {
	status string // three digits
	reason string // as sent
	squid  string // what Squid says besides
}

// readHTTPAnswer reads the final answer up to the empty line after its header. What
// follows is left in r, whose buffer has headLimit bytes.
func readHTTPAnswer(r *bufio.Reader) (httpAnswer, error) {
	for left := headLimit; ; {
		a, err := readHTTPHead(r, &left)
		// Before the final answer there may be interim ones (RFC 9110, section 15.2).
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

// readHTTPLine reads a line without its end.
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

// refusal returns the error that an answer stands for, nil for success.
func (a httpAnswer) refusal(login *login) error {
	text := a.status
	if a.reason != "" {
		text += " " + harmless(a.reason, 100)
	}
	switch {
	case a.status[0] == '2':
		return nil
	case a.status == "407" && login == nil:
		return fmt.Errorf("it refused: %s (the URL holds no user and password)", text)
	case a.status == "502", a.status == "504":
		return errTarget{errors.New(text)}
	case a.status == "503" && (strings.HasPrefix(a.squid, "ERR_CONNECT_FAIL") || strings.HasPrefix(a.squid, "ERR_DNS_FAIL")):
		return errTarget{errors.New(text)} // where others say 502
	}
	return fmt.Errorf("it refused: %s", text)
}

// aheadConn is a connection of which some bytes have been read already. Reads must
// not overlap.
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
