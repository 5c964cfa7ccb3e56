package gss

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/cryptobyte"
)

// fakeKDC is a KDC whose replies a test defines. It listens on TCP and UDP.
type fakeKDC struct {
	address  string
	requests atomic.Int32
}

// startFakeKDC starts a KDC that answers requests with what respond returns. It does not answer if
// respond returns nil.
func startFakeKDC(t testing.TB, respond func(network string, request []byte) []byte) *fakeKDC {
	t.Helper()
	k := &fakeKDC{}
	listener, packets := listenBoth(t)
	k.address = listener.Addr().String()
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer conn.Close()
				request := make([]byte, 1<<16)
				n, err := io.ReadAtLeast(conn, request, 5)
				if err != nil {
					return
				}
				k.requests.Add(1)
				if reply := respond("tcp", request[4:n]); reply != nil {
					conn.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(reply))), reply...))
				}
				io.Copy(io.Discard, conn) // until the client hangs up
			})
		}
	})
	wg.Go(func() {
		request := make([]byte, 1<<16)
		for {
			n, from, err := packets.ReadFrom(request)
			if err != nil {
				return
			}
			k.requests.Add(1)
			if reply := respond("udp", request[:n]); reply != nil {
				packets.WriteTo(reply, from)
			}
		}
	})
	t.Cleanup(func() {
		listener.Close()
		packets.Close()
		wg.Wait()
	})
	return k
}

// listenBoth listens on one port for TCP and UDP.
func listenBoth(t testing.TB) (net.Listener, net.PacketConn) {
	t.Helper()
	for range 20 {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		packets, err := net.ListenPacket("udp", listener.Addr().String())
		if err == nil {
			return listener, packets
		}
		listener.Close()
	}
	t.Fatal("no port is free for both TCP and UDP")
	return nil, nil
}

// krbConfig writes a krb5.conf with KDCs for FLEET.TEST and returns its path.
func krbConfig(t testing.TB, libdefaults string, kdcs ...string) (path string) {
	t.Helper()
	text := "[libdefaults]\n" + libdefaults + "\ndefault_realm = FLEET.TEST\ndns_lookup_kdc = false\n[realms]\nFLEET.TEST = {\n"
	for _, kdc := range kdcs {
		text += "kdc = " + kdc + "\n"
	}
	path = filepath.Join(t.TempDir(), "krb5.conf")
	if err := os.WriteFile(path, []byte(text+"}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// encodeError returns a KRB-ERROR message with e-data, if that is not nil.
func encodeError(code int32, at time.Time, edata []byte) []byte {
	data, err := message(msgError, func(e encoder) {
		e.int(0, version)
		e.int(1, msgError)
		e.time(4, at)
		e.int(5, micros(at))
		e.int(6, int64(code))
		e.text(9, "FLEET.TEST")
		e.name(10, tgsPrincipal("FLEET.TEST", "FLEET.TEST"))
		e.text(11, "a text")
		if edata != nil {
			e.bytes(12, edata)
		}
	})
	if err != nil {
		panic(err)
	}
	return data
}

// encodeCache returns the contents of a FILE cache.
func encodeCache(client principal, tickets ...*ticket) []byte {
	b := cryptobyte.NewBuilder([]byte{5, 4, 0, 0})
	bytes := func(v []byte) {
		b.AddUint32(uint32(len(v)))
		b.AddBytes(v)
	}
	name := func(p principal) {
		b.AddUint32(uint32(p.nameType))
		b.AddUint32(uint32(len(p.names)))
		bytes([]byte(p.realm))
		for _, name := range p.names {
			bytes([]byte(name))
		}
	}
	name(client)
	for _, t := range tickets {
		name(t.client)
		name(t.server)
		b.AddUint16(uint16(t.key.etype))
		bytes(t.key.value)
		for _, at := range []time.Time{t.authTime, t.start, t.end, t.renewTill} {
			b.AddUint32(uint32(max(at.Unix(), 0)))
		}
		b.AddUint8(0)
		b.AddUint32(t.flags)
		b.AddUint32(0)
		b.AddUint32(0)
		bytes(t.raw)
		bytes(nil)
	}
	return b.BytesOrPanic()
}

// testTicket returns a ticket of alice that is valid now. Its encrypted part is not real.
func testTicket(server principal) *ticket {
	raw, err := message(msgTicket, func(e encoder) {
		e.int(0, version)
		e.text(1, server.realm)
		e.name(2, server)
		e.encrypted(3, testKey(), 2, []byte("for the server"))
	})
	if err != nil {
		panic(err)
	}
	now := time.Now().Truncate(time.Second)
	return &ticket{
		client: parsePrincipal("alice@FLEET.TEST", ""), server: server, key: testKey(),
		authTime: now.Add(-time.Minute), start: now.Add(-time.Minute), end: now.Add(time.Hour), raw: raw,
	}
}

func testKey() key { return key{aes256SHA1, []byte("0123456789abcdef0123456789abcdef")} }

func testTGT() *ticket { return testTicket(tgsPrincipal("FLEET.TEST", "FLEET.TEST")) }

// cacheWith writes a cache of alice with tickets and returns its name.
func cacheWith(t testing.TB, tickets ...*ticket) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "cc")
	if err := os.WriteFile(path, encodeCache(parsePrincipal("alice@FLEET.TEST", ""), tickets...), 0o600); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("FILE:%s", path)
}

// encodeReply returns a TGS-REP message that is encrypted with testKey.
func encodeReply(issued *ticket, nonce int64) ([]byte, error) {
	part, err := message(msgEncTGSReply, func(e encoder) {
		e.key(0, issued.key)
		e.field(1, func(e encoder) { e.sequence(func(encoder) {}) })
		e.int(2, nonce)
		e.flags(4, issued.flags)
		e.time(5, issued.authTime)
		e.time(6, issued.start)
		e.time(7, issued.end)
		e.text(9, issued.server.realm)
		e.name(10, issued.server)
	})
	if err != nil {
		return nil, err
	}
	return message(msgTGSReply, func(e encoder) {
		e.int(0, version)
		e.int(1, msgTGSReply)
		e.text(3, issued.client.realm)
		e.name(4, issued.client)
		e.raw(5, issued.raw)
		e.encrypted(6, testKey(), usageTGSReply, part)
	})
}
