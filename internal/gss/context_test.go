package gss

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"
)

// begun returns a context that has sent its token and waits for the token of the server.
func begun() *Context {
	c := NewCredentials(Options{})
	return &Context{
		credentials: c, begun: true, service: "host/web1@FLEET.TEST", principal: "alice@FLEET.TEST", session: testKey(),
		authenticator: authenticator{time: time.Unix(1700000000, 123456789), subkey: testKey().newKey(), sequence: 42},
	}
}

// apReplyToken describes the token of a server. A zero subkey is left out.
type apReplyToken struct {
	kind            uint16
	at              time.Time
	session, subkey key
}

func (a apReplyToken) encode(t testing.TB) []byte {
	t.Helper()
	part, err := message(msgEncAPReply, func(e encoder) {
		e.time(0, a.at)
		e.int(1, micros(a.at))
		if a.subkey.value != nil {
			e.key(2, a.subkey)
		}
		e.int(3, 7)
	})
	if err != nil {
		t.Fatal(err)
	}
	reply, err := message(msgAPReply, func(e encoder) {
		e.int(0, version)
		e.int(1, msgAPReply)
		e.encrypted(2, a.session, usageAPReply, part)
	})
	if err != nil {
		t.Fatal(err)
	}
	token, err := frame(a.kind, reply)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// TestServerAnswer accepts the token of a server, with and without an acceptor subkey, and signs
// with the right key.
func TestServerAnswer(t *testing.T) {
	t.Parallel()
	for _, subkey := range []key{{}, testKey().newKey()} {
		x := begun()
		token := apReplyToken{tokenAPReply, x.authenticator.time, x.session, subkey}.encode(t)
		out, more, err := x.InitSecContext("host@web1", token, false)
		if err != nil || more || out != nil {
			t.Fatalf("%v, more %v, token %x", err, more, out)
		}
		want, flags := x.authenticator.subkey, byte(0)
		if subkey.value != nil {
			want, flags = subkey, 4
		}
		for sequence := range byte(2) {
			token, err := x.GetMIC([]byte("data"))
			if err != nil {
				t.Fatal(err)
			}
			header := []byte{4, 4, flags, 255, 255, 255, 255, 255, 0, 0, 0, 0, 0, 0, 0, 42 + sequence}
			sum, _, _ := want.checksum(usageInitiatorSign, append([]byte("data"), header...))
			if !bytes.Equal(token, append(header, sum...)) {
				t.Errorf("signature %x", token)
			}
		}
	}
}

// lateHour is what is left of an hour when a busy machine looks.
var lateHour = regexp.MustCompile(`59m[0-9]+s`)

// TestWrongAnswers rejects tokens that do not authenticate the server.
func TestWrongAnswers(t *testing.T) {
	t.Parallel()
	good := begun()
	right := apReplyToken{tokenAPReply, good.authenticator.time, good.session, key{}}
	wrong := func(change func(*apReplyToken)) []byte {
		a := right
		change(&a)
		return a.encode(t)
	}
	framed := func(kind uint16, message []byte) []byte {
		token, err := frame(kind, message)
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	skew := framed(tokenError, encodeError(codeSkew, time.Now().Add(time.Hour), nil))
	tests := map[string]struct {
		token []byte
		want  string
	}{
		"garbage":         {[]byte("garbage"), "malformed message"},
		"another time":    {wrong(func(a *apReplyToken) { a.at = a.at.Add(time.Second) }), "the server answered another request"},
		"another moment":  {wrong(func(a *apReplyToken) { a.at = a.at.Add(time.Microsecond) }), "the server answered another request"},
		"another key":     {wrong(func(a *apReplyToken) { a.session = a.session.newKey() }), "wrong key, or message changed in transit"},
		"unknown subkey":  {wrong(func(a *apReplyToken) { a.subkey = key{23, []byte("0123456789abcdef")} }), "encryption type arcfour-hmac is not supported; only AES is"},
		"short subkey":    {wrong(func(a *apReplyToken) { a.subkey = key{aes256SHA1, []byte("short")} }), "encryption type aes256-cts-hmac-sha1-96 is not supported; only AES is"},
		"another kind":    {wrong(func(a *apReplyToken) { a.kind = 0x0404 }), "malformed message"},
		"no message":      {framed(tokenAPReply, nil), "malformed message"},
		"an error":        {skew, "the clocks differ too much (a text): the host's clock differs by 1h0m0s; set the clock"},
		"half an error":   {framed(tokenError, []byte("\x7e\x03abc")), "malformed message"},
		"other mechanism": {[]byte("\x60\x08\x06\x02\x2a\x03\x02\x00\x6f\x00"), "the server answered with a mechanism other than Kerberos 5"},
	}
	token := right.encode(t)
	for n := 1; n < len(token); n++ {
		tests[fmt.Sprint("cut at ", n)] = struct {
			token []byte
			want  string
		}{token[:n], "malformed message"}
	}
	for name, test := range tests {
		x := begun()
		_, more, err := x.InitSecContext("host@web1", test.token, false)
		const prefix = "verify the server for host/web1@FLEET.TEST as alice@FLEET.TEST: "
		text := func(err error) string { return lateHour.ReplaceAllString(fmt.Sprint(err), "1h0m0s") }
		if err == nil || more || text(err) != prefix+test.want {
			t.Errorf("%s: %v, want %s", name, err, test.want)
		}
		if _, err := x.GetMIC(nil); err == nil {
			t.Errorf("%s: signed before the server was authenticated", name)
		}
		if text(x.Err()) != prefix+test.want {
			t.Errorf("%s: Err says %v", name, x.Err())
		}
	}
	for i := range token { // every changed bit must be noticed
		changed := bytes.Clone(token)
		changed[i] ^= 1
		if _, _, err := begun().InitSecContext("host@web1", changed, false); err == nil {
			t.Errorf("accepted with byte %d changed", i)
		}
	}
}

// TestEmptyTokens checks that only a few calls without a token are accepted.
func TestEmptyTokens(t *testing.T) {
	t.Parallel()
	x := begun()
	for i := range maxEmptyTokens {
		if out, more, err := x.InitSecContext("host@web1", nil, false); out != nil || !more || err != nil {
			t.Fatalf("call %d: %v, more %v", i, err, more)
		}
	}
	if _, _, err := x.InitSecContext("host@web1", nil, false); err == nil {
		t.Error("there is no limit")
	}
}

// TestTarget rejects a target that is not the service of a host.
func TestTarget(t *testing.T) {
	t.Parallel()
	x := NewCredentials(Options{}).NewContext(t.Context(), false)
	if _, _, err := x.InitSecContext("web1", nil, false); err == nil || !strings.Contains(err.Error(), "is not the service of a host") {
		t.Errorf("error %v", err)
	}
}
