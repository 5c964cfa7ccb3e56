package socks_test

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"fleetssh/internal/socks"
)

// client holds what a client sends, and records what it gets.
type client struct {
	io.Reader
	bytes.Buffer
}

func (c *client) Read(p []byte) (int, error) { return c.Reader.Read(p) }

func newClient(sent string) *client { return &client{Reader: strings.NewReader(sent)} }

func TestReadRequest(t *testing.T) {
	t.Parallel()
	const greeting = "\x05\x01\x00"
	for _, test := range []struct {
		name, sent string
		want       socks.Request
		answer     string // sent before the reply
	}{
		{"name", greeting + "\x05\x01\x00\x03\x05web07\x23\x8c", socks.Request{Version: 5, Host: "web07", Port: 9100}, "\x05\x00"},
		{"IPv4", greeting + "\x05\x01\x00\x01\x7f\x00\x00\x01\x00\x50", socks.Request{Version: 5, Host: "127.0.0.1", Port: 80}, "\x05\x00"},
		{"IPv6", greeting + "\x05\x01\x00\x04" + strings.Repeat("\x00", 15) + "\x01\x00\x50", socks.Request{Version: 5, Host: "::1", Port: 80}, "\x05\x00"},
		{"IPv4 in IPv6", greeting + "\x05\x01\x00\x04" + strings.Repeat("\x00", 10) + "\xff\xff\x0a\x00\x00\x07\x00\x50", socks.Request{Version: 5, Host: "10.0.0.7", Port: 80}, "\x05\x00"},
		{"authentication offered too", "\x05\x02\x02\x00" + "\x05\x01\x00\x03\x01a\x00\x01", socks.Request{Version: 5, Host: "a", Port: 1}, "\x05\x00"},
		{"version 4", "\x04\x01\x00\x50\x0a\x00\x00\x07me\x00", socks.Request{Version: 4, Host: "10.0.0.7", Port: 80}, ""},
		{"version 4a", "\x04\x01\x00\x50\x00\x00\x00\x01\x00web07\x00", socks.Request{Version: 4, Host: "web07", Port: 80}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := newClient(test.sent + "behind")
			got, err := socks.ReadRequest(c)
			if err != nil || *got != test.want {
				t.Fatalf("%+v, %v", got, err)
			}
			if rest, _ := io.ReadAll(c.Reader); string(rest) != "behind" {
				t.Errorf("left: %q", rest)
			}
			if answer := c.Buffer.String(); answer != test.answer {
				t.Errorf("answered %q", answer)
			}
		})
	}
}

func TestReadRequestRefuses(t *testing.T) {
	t.Parallel()
	const greeting = "\x05\x01\x00"
	refused := func(reply string) string { return "\x05\x00\x05" + reply + "\x00\x01\x00\x00\x00\x00\x00\x00" }
	for _, test := range []struct{ name, sent, answer, err string }{
		{"nothing", "", "", "EOF"},
		{"HTTP", "GET / HTTP/1.1\r\n", "", `not SOCKS: it begins with "G"`},
		{"cut", greeting + "\x05\x01", "\x05\x00", "unexpected EOF"},
		{"cut name", greeting + "\x05\x01\x00\x03\xffweb", "\x05\x00", "unexpected EOF"},
		{"authentication only", "\x05\x01\x02", "\x05\xff", "requires authentication"},
		{"no method", "\x05\x00", "\x05\xff", "requires authentication"},
		{"BIND", greeting + "\x05\x02\x00\x03\x01a\x00\x01", refused("\x07"), "command 2"},
		{"UDP", greeting + "\x05\x03\x00\x01\x00\x00\x00\x00\x00\x00", refused("\x07"), "command 3"},
		{"type of address", greeting + "\x05\x01\x00\x05\x00\x00", refused("\x08"), "unknown address type: 5"},
		{"version of request", greeting + "\x04\x01\x00\x03\x01a\x00\x01", "\x05\x00", "version 4"},
		{"version 4 BIND", "\x04\x02\x00\x50\x0a\x00\x00\x07\x00", "\x00\x5b\x00\x00\x00\x00\x00\x00", "command 2"},
		{"endless user", "\x04\x01\x00\x50\x0a\x00\x00\x07" + strings.Repeat("x", 10_000), "", "longer than 255"},
		{"endless name", "\x04\x01\x00\x50\x00\x00\x00\x07\x00" + strings.Repeat("x", 10_000), "", "longer than 255"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := newClient(test.sent)
			r, err := socks.ReadRequest(c)
			if err == nil || !strings.Contains(err.Error(), test.err) {
				t.Errorf("%+v, %v", r, err)
			}
			if answer := c.Buffer.String(); answer != test.answer {
				t.Errorf("answered %q, want %q", answer, test.answer)
			}
		})
	}
}

func TestAnswer(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		version byte
		reply   socks.Reply
		want    string
	}{
		{5, socks.Granted, "\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00"},
		{5, socks.HostUnreachable, "\x05\x04\x00\x01\x00\x00\x00\x00\x00\x00"},
		{4, socks.Granted, "\x00\x5a\x00\x00\x00\x00\x00\x00"},
		{4, socks.NotAllowed, "\x00\x5b\x00\x00\x00\x00\x00\x00"},
	} {
		var b bytes.Buffer
		r := socks.Request{Version: test.version}
		if err := r.Answer(&b, test.reply); err != nil || b.String() != test.want {
			t.Errorf("%d %v: %q, %v", test.version, test.reply, b.String(), err)
		}
	}
}

// FuzzReadRequest checks that reading ends after few bytes, whatever a client sends, and that a
// request has a valid port and a bounded name.
func FuzzReadRequest(f *testing.F) {
	for _, seed := range []string{
		"\x05\x01\x00\x05\x01\x00\x03\x05web07\x23\x8c", "\x05\x01\x02", "\x04\x01\x00\x50\x00\x00\x00\x01\x00web07\x00",
		"\x05\x01\x00\x05\x01\x00\x04" + strings.Repeat("\x00", 18), "GET / HTTP/1.1\r\n\r\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, sent []byte) {
		rest := bytes.NewReader(sent)
		c := &client{Reader: rest}
		r, err := socks.ReadRequest(c)
		if (r == nil) == (err == nil) {
			t.Fatalf("%+v, %v", r, err)
		}
		if read := len(sent) - rest.Len(); read > 1024 {
			t.Errorf("read %d bytes", read)
		}
		if c.Buffer.Len() > 12 {
			t.Errorf("answered %q", c.Buffer.String())
		}
		if r != nil && (len(r.Host) > 255 || r.Port < 0 || r.Port > 65535 || r.Version != sent[0]) {
			t.Errorf("%+v", r)
		}
	})
}
