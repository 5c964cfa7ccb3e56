//go:build unix

package gss

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"fleetssh/internal/kdctest"
	"fleetssh/internal/sshdtest"
)

// tgsReply returns the reply to a TGS-REQ that was made with testTGT. change may modify the ticket
// and the nonce.
func tgsReply(t testing.TB, request []byte, change func(reply *ticket, nonce *int64)) []byte {
	t.Helper()
	var nonce int64
	var asked principal
	err := parse(request, msgTGSRequest, func(d *decoder) {
		body := d.field(4).sequence()
		realm := body.text(2)
		asked = body.name(3)
		asked.realm = realm
		nonce = body.int(7)
	})
	if err != nil {
		t.Errorf("request: %v", err)
		return nil
	}
	issued := testTicket(asked)
	change(issued, &nonce)
	data, err := encodeReply(issued, nonce)
	if err != nil {
		t.Error(err)
	}
	return data
}

// TestReplies gets replies that do and do not match the request.
func TestReplies(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		change func(issued *ticket, nonce *int64)
		want   string // "" if the reply is accepted
	}{
		"as asked":            {func(*ticket, *int64) {}, ""},
		"in capitals":         {func(i *ticket, _ *int64) { i.server.names = []string{"HOST", "WEB1"} }, ""},
		"another nonce":       {func(_ *ticket, nonce *int64) { *nonce++ }, "reply of the KDC: malformed message"},
		"another client":      {func(i *ticket, _ *int64) { i.client = parsePrincipal("eve@FLEET.TEST", "") }, "the KDC returned a ticket of eve@FLEET.TEST"},
		"another service":     {func(i *ticket, _ *int64) { i.server.names = []string{"host", "web2"} }, "the KDC returned a ticket for host/web2@FLEET.TEST"},
		"unsupported key":     {func(i *ticket, _ *int64) { i.key.etype = 23 }, "reply of the KDC: encryption type arcfour-hmac is not supported; only AES is"},
		"no ticket":           {func(i *ticket, _ *int64) { i.raw = []byte{0x61, 0} }, "reply of the KDC: malformed message"},
		"endless referrals":   {func(i *ticket, _ *int64) { i.server = tgsPrincipal("FLEET.TEST", "FLEET.TEST") }, "more than 10 referrals between KDCs"},
		"realm without a KDC": {func(i *ticket, _ *int64) { i.server = tgsPrincipal("OTHER.TEST", "FLEET.TEST") }, ".*krb5.conf has no KDC for realm OTHER.TEST; name its KDCs in krb5.conf"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := startFakeKDC(t, func(_ string, request []byte) []byte { return tgsReply(t, request, test.change) })
			o := Options{Config: krbConfig(t, "", k.address), Cache: cacheWith(t, testTGT())}
			_, err := begin(NewCredentials(o), "web1")
			if test.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			wantError(t, err, `get a ticket for host/web1@FLEET.TEST as alice@FLEET.TEST: `+test.want)
		})
	}
}

// TestGarbage gets replies that are not Kerberos messages.
func TestGarbage(t *testing.T) {
	t.Parallel()
	garbage := map[string][]byte{
		"nothing": {}, "text": []byte("HTTP/1.1 400 Bad Request\r\n\r\n"), "half an error": {0x7e, 0x82, 0xff, 0xff, 0x30}, "deep": []byte(strings.Repeat("\x7e\x80", 1000)),
	}
	for name, reply := range garbage {
		for _, preference := range []string{"1", "1465"} {
			k := startFakeKDC(t, func(string, []byte) []byte { return reply })
			config := krbConfig(t, "udp_preference_limit = "+preference, k.address)
			for _, o := range []Options{{Password: "x", Client: "alice"}, {Cache: cacheWith(t, testTGT())}} {
				o.Config = config
				ctx, cancel := context.WithTimeout(t.Context(), sshdtest.Patience)
				_, _, err := NewCredentials(o).NewContext(ctx, false).InitSecContext("host@web1", nil, false)
				cancel()
				if e := (*Error)(nil); !errors.As(err, &e) || !strings.Contains(err.Error(), "malformed message") {
					t.Errorf("%s: %v", name, err)
				}
			}
		}
	}
}

// TestLengths gets TCP replies with wrong lengths.
func TestLengths(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		reply string
		want  string
	}{
		"none":      {"", "connection closed"},
		"cut":       {"\x00\x00\x00\x09abc", "connection closed"},
		"zero":      {"\x00\x00\x00\x00", "malformed message"},
		"too large": {"\x7f\xff\xff\xff", "malformed message"},
	} {
		client, server := net.Pipe()
		go func() {
			io.CopyN(io.Discard, server, 4+7)
			io.WriteString(server, test.reply)
			server.Close()
		}()
		if _, err := overTCP(client, []byte("request")); err == nil || err.Error() != test.want {
			t.Errorf("%s: %v, want %s", name, err, test.want)
		}
		client.Close()
	}
}

// TestNextKDC asks the next KDC if one does not answer or is not available, and asks again over TCP
// if the reply is too large for UDP.
func TestNextKDC(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	issue := func(_ string, request []byte) []byte { return tgsReply(t, request, func(*ticket, *int64) {}) }
	silent := startFakeKDC(t, func(string, []byte) []byte { return nil })
	unavailable := startFakeKDC(t, func(string, []byte) []byte { return encodeError(codeUnavailable, time.Now(), nil) })
	verbose := startFakeKDC(t, func(network string, request []byte) []byte {
		if network == "udp" {
			return encodeError(codeTooBig, time.Now(), nil)
		}
		return issue(network, request)
	})
	for name, first := range map[string]*fakeKDC{"silent": silent, "unavailable": unavailable} {
		for _, preference := range []string{"1", "1465"} {
			config := krbConfig(t, "udp_preference_limit = "+preference, first.address, verbose.address)
			if _, err := begin(NewCredentials(Options{Config: config, Cache: cacheWith(t, testTGT())}), "web1"); err != nil {
				t.Errorf("%s, %s: %v", name, preference, err)
			}
		}
		if first.requests.Load() == 0 {
			t.Errorf("%s: the KDC was not asked", name)
		}
	}
	config := krbConfig(t, "", unavailable.address)
	_, err := begin(NewCredentials(Options{Config: config, Cache: cacheWith(t, testTGT())}), "web1")
	wantError(t, err, `.*: no KDC of FLEET.TEST answers: `+unavailable.address+`: the KDC is not available \(a text\); is the network up\?`)
}

// TestRealUDP gets tickets from a real KDC over UDP.
func TestRealUDP(t *testing.T) {
	t.Parallel()
	k := kdctest.Start(t, kdctest.Options{LibDefaults: []string{"udp_preference_limit = 1465"}})
	k.AddPrincipal(t, "alice", testPassword)
	k.AddService(t, "host/localhost")
	wantTicket(t, Options{Config: k.Config, Password: testPassword, Client: "alice"})
}

// TestLeavingOthersAlone cancels one of two callers that wait for the same ticket. The request must
// continue for the other.
func TestLeavingOthersAlone(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	asked := make(chan struct{}, 10)
	answer := make(chan struct{})
	k := startFakeKDC(t, func(_ string, request []byte) []byte {
		asked <- struct{}{}
		<-answer
		return tgsReply(t, request, func(*ticket, *int64) {})
	})
	c := NewCredentials(Options{Config: krbConfig(t, "udp_preference_limit = 1", k.address), Cache: cacheWith(t, testTGT())})
	gone, leave := context.WithCancel(t.Context())
	began := time.Now()
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, _, err := c.NewContext(gone, false).InitSecContext("host@web1", nil, false); !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled caller: %v", err)
		}
	})
	<-asked
	wg.Go(func() {
		if _, err := begin(c, "web1"); err != nil {
			t.Errorf("other caller: %v", err)
		}
	})
	sshdtest.Eventually(t, sshdtest.Patience, "two callers wait", func() bool {
		c.tickets.mu.Lock()
		defer c.tickets.mu.Unlock()
		return c.tickets.byName["host/web1"].waiting == 2
	})
	leave()
	sshdtest.Eventually(t, sshdtest.Patience, "one caller waits", func() bool {
		c.tickets.mu.Lock()
		defer c.tickets.mu.Unlock()
		return c.tickets.byName["host/web1"].waiting == 1
	})
	close(answer)
	wg.Wait()
	// A KDC that does not answer within tryNext is asked once more by other means.
	if n := k.requests.Load(); n != 1 && time.Since(began) < tryNext {
		t.Errorf("%d requests, want 1", n)
	}
}

// TestExchangesAtOnce checks the limit of concurrent exchanges.
func TestExchangesAtOnce(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	var mu sync.Mutex // protects running and highest
	running, highest := 0, 0
	full, answer := make(chan struct{}), make(chan struct{})
	k := startFakeKDC(t, func(_ string, request []byte) []byte {
		mu.Lock()
		if running++; running > highest {
			highest = running
		}
		if running == maxExchanges {
			close(full)
		}
		mu.Unlock()
		<-answer
		mu.Lock()
		running--
		mu.Unlock()
		return tgsReply(t, request, func(*ticket, *int64) {})
	})
	c := NewCredentials(Options{Config: krbConfig(t, "udp_preference_limit = 1", "tcp/"+k.address), Cache: cacheWith(t, testTGT())})
	var wg sync.WaitGroup
	for i := range 3 * maxExchanges {
		wg.Go(func() {
			if _, err := begin(c, fmt.Sprintf("web%d", i)); err != nil {
				t.Error(err)
			}
		})
	}
	<-full
	close(answer)
	wg.Wait()
	if highest > maxExchanges {
		t.Errorf("%d exchanges at once, want at most %d", highest, maxExchanges)
	}
}
