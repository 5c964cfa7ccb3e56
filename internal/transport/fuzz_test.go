package transport

import (
	"bufio"
	"bytes"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"fleetssh/internal/socks"
)

// FuzzHTTPAnswer checks that the bytes after the response are left unread, also if bytes arrive one
// by one.
func FuzzHTTPAnswer(f *testing.F) {
	for _, seed := range []string{
		"HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.0 200\n\n", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nA: b\r\n\r\n",
		"HTTP/1.1 503 Service Unavailable\r\nX-Squid-Error: ERR_DNS_FAIL 0\r\n\r\n", "HTTP/1.1 407 \x1b]0;x\a\r\n\r\n",
		"SSH-2.0-OpenSSH\r\n", "HTTP/1.1 2", "\n", "",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		const rest = "SSH-2.0-x\r\n"
		r := bufio.NewReaderSize(bytes.NewReader(append(bytes.Clone(data), rest...)), headLimit)
		a, err := readHTTPAnswer(r)
		slow := bufio.NewReaderSize(iotest.OneByteReader(bytes.NewReader(append(bytes.Clone(data), rest...))), headLimit)
		b, slowErr := readHTTPAnswer(slow)
		if a != b || (err == nil) != (slowErr == nil) {
			t.Fatalf("%+v, %v; byte by byte %+v, %v", a, err, b, slowErr)
		}
		if err != nil {
			return
		}
		if !isHTTPStatus(a.status) || a.status[0] == '1' {
			t.Errorf("status %q", a.status)
		}
		if err := a.refusal(nil); (err == nil) != (a.status[0] == '2') {
			t.Errorf("status %q: %v", a.status, err)
		} else if err != nil && strings.ContainsAny(err.Error(), "\x1b\r\n\a") {
			t.Errorf("the error contains control characters: %q", err)
		}
		left, _ := io.ReadAll(r)
		slowLeft, _ := io.ReadAll(slow)
		if !bytes.Equal(left, slowLeft) || !bytes.HasSuffix(left, []byte(rest)) && len(left) >= len(rest) {
			t.Errorf("left %q, byte by byte %q", left, slowLeft)
		}
		if used := len(data) + len(rest) - len(left); used > headLimit {
			t.Errorf("%d bytes were read", used)
		}
	})
}

// FuzzSOCKSReply checks that no bytes after the reply are read.
func FuzzSOCKSReply(f *testing.F) {
	for _, seed := range []string{
		"\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x50", "\x05\x00\x00\x03\x05bound\x00\x50", "\x05\x00\x00\x03\x00\x00\x50",
		"\x05\x00\x00\x04" + strings.Repeat("\x00", 18), "\x05\x05", "\x05\xf0", "\x05\x00\x00\x02\x00", "\x04\x5a", "HTTP/1.1 400", "",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r := bytes.NewReader(data)
		err := readSocksReply(r)
		used := data[:len(data)-r.Len()]
		if len(used) > 4+1+255+2 {
			t.Errorf("%d bytes were read", len(used))
		}
		if err != nil {
			if len(data) > 1 && data[0] == 5 && data[1] != 0 && len(used) != 2 {
				t.Errorf("%d bytes of a refusal were read", len(used))
			}
			return
		}
		want := map[byte]int{socks.IPv4: 10, socks.IPv6: 22, socks.DomainName: 7 + int(used[4])}[used[3]]
		if used[0] != 5 || used[1] != 0 || len(used) != want {
			t.Errorf("%x was accepted", used)
		}
	})
}

// FuzzCommandExpand checks that the shell reads each value as one word.
func FuzzCommandExpand(f *testing.F) {
	f.Add("web1", "me", "22")
	f.Add("2001:db8::1%eth0", "me@corp", "2222")
	f.Add("$(reboot)", "a;b", "`")
	f.Add("-oProxyCommand=x", "'", "\\")
	f.Fuzz(func(t *testing.T, host, user, port string) {
		c := &command{Program{Line: "%h '%r' %p \"%n\" %%"}}
		line, err := c.expand(map[string]string{"h": host, "r": user, "p": port, "n": user})
		if err != nil {
			return
		}
		if strings.ContainsAny(line, "`;&<>|(){}\n\t\x00") {
			t.Errorf("%q", line)
		}
		out, err := exec.Command("/bin/sh", "-c", "printf '%s\\0' "+line).Output()
		if err != nil {
			t.Skip(err) // the line is too long
		}
		if words := strings.Split(string(out), "\x00"); !slices.Equal(words, []string{host, user, port, user, "%", ""}) {
			t.Errorf("%q is %q to the shell", line, words)
		}
	})
}
