package gss

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"
)

// FuzzProfile parses any krb5.conf and reads its settings.
func FuzzProfile(f *testing.F) {
	for _, text := range []string{
		"", "[libdefaults]\n default_realm = A\n ticket_lifetime = 1d 2h\n[realms]\nA = {\n kdc = tcp/a:88\n}\n[domain_realm]\n.a = A\n",
		"include /nonexistent", "includedir /nonexistent", "[a]*\nb* = \"c\\n\nd =\n{\n}*\n", "[libdefaults]\npermitted_enctypes = aes - + -aes, ,x\nudp_preference_limit = -1\n",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Contains(text, "include") {
			return // it would read files of this machine
		}
		p := &profile{}
		root := &section{}
		if p.parse("krb5.conf", text, root, 0) != nil {
			return
		}
		p.files = []*section{root}
		c := &config{profile: p, list: "krb5.conf"}
		realm := c.defaultRealm()
		c.ticketLifetime(realm)
		c.clockSkew()
		c.maxDatagram()
		c.etypes("default_tgs_enctypes")
		c.realmOf("web1.example.com")
		for _, value := range c.values("realms", realm, "kdc") {
			parseAddress(value)
		}
		expand(c.setting("", "default_ccache_name"))
		words(text)
		parsePrincipal(text, "R")
	})
}

// FuzzCacheFile parses any FILE cache, encodes it and parses it again.
func FuzzCacheFile(f *testing.F) {
	client := parsePrincipal("alice@FLEET.TEST", "")
	f.Add(encodeCache(client))
	f.Add(encodeCache(client, testTGT(), testTGT()))
	f.Add([]byte{5, 3, 0, 0, 0, 1, 0, 0, 0, 0})
	f.Add([]byte{5, 4, 0, 0, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := parseCacheFile(data)
		if err != nil {
			return
		}
		for _, ticket := range c.tickets {
			ticket.usable(time.Now(), time.Minute)
		}
		again, err := parseCacheFile(encodeCache(c.principal, c.tickets...))
		if err != nil || !again.principal.equal(c.principal) || len(again.tickets) != len(c.tickets) {
			t.Fatalf("the cache differs after a round trip: %v", err)
		}
		for i := range again.tickets {
			if !reflect.DeepEqual(again.tickets[i], c.tickets[i]) {
				t.Fatalf("ticket %d: %+v, was %+v", i, again.tickets[i], c.tickets[i])
			}
		}
	})
}

// FuzzKeytab parses any keytab.
func FuzzKeytab(f *testing.F) {
	f.Add([]byte{5, 2})
	f.Add([]byte("\x05\x02\x00\x00\x00\x29\x00\x01\x00\x01R\x00\x01a\x00\x00\x00\x01\x00\x00\x00\x00\x01\x00\x11\x00\x100123456789abcdef\x00\x00\x00\x01"))
	f.Add([]byte("\x05\x02\xff\xff\xff\xfe\x00\x00\x80\x00\x00\x00"))
	f.Fuzz(func(_ *testing.T, data []byte) {
		if k, err := parseKeytab(data); err == nil {
			k.keys(k.entries[0].principal)
		}
	})
}

// FuzzKCM reads a cache from a daemon that sends anything.
func FuzzKCM(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00"))
	f.Add([]byte("\x00\x00\x00\x17\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00\x01R\x00\x00\x00\x01a" + "\x00\x00\x00\x14\x00\x00\x00\x00\x00\x00\x00\x000123456789abcdef"))
	f.Add([]byte("\xff\xff\xff\xff\x00\x00\x00\x00\x00\x00\x00\x00"))
	f.Add([]byte("\x00\x00\x00\x04\x96\xc7\x3a\x00\x00\x00\x00\x00"))
	f.Fuzz(func(_ *testing.T, replies []byte) {
		k := &kcm{conn: readWriter{bytes.NewReader(replies), &bytes.Buffer{}}, path: "socket"}
		k.cache("1000")
		readKCMReply(bytes.NewReader(replies))
	})
}

// readWriter reads from the Reader and writes to the Buffer.
type readWriter struct {
	*bytes.Reader
	*bytes.Buffer
}

func (rw readWriter) Read(p []byte) (int, error)  { return rw.Reader.Read(p) }
func (rw readWriter) Write(p []byte) (int, error) { return rw.Buffer.Write(p) }

// FuzzServer answers the first token with anything, in plain text and encrypted with the session
// key.
func FuzzServer(f *testing.F) {
	x := begun()
	good := apReplyToken{tokenAPReply, x.authenticator.time, x.session, testKey()}.encode(f)
	f.Add(good, []byte{})
	wrong, _ := frame(tokenError, encodeError(codeSkew, time.Unix(0, 0), []byte("more")))
	f.Add(wrong, []byte{})
	part, _ := message(msgEncAPReply, func(e encoder) {
		e.time(0, x.authenticator.time)
		e.int(1, micros(x.authenticator.time))
		e.key(2, testKey())
	})
	f.Add([]byte{}, part)
	f.Fuzz(func(t *testing.T, token, part []byte) {
		begun().InitSecContext("host@web1", token, false)
		reply, err := message(msgAPReply, func(e encoder) {
			e.int(0, version)
			e.int(1, msgAPReply)
			e.encrypted(2, testKey(), usageAPReply, part)
		})
		if err != nil {
			t.Fatal(err)
		}
		if token, err = frame(tokenAPReply, reply); err != nil {
			t.Fatal(err)
		}
		x := begun()
		if _, _, err := x.InitSecContext("host@web1", token, false); err == nil {
			x.GetMIC(token)
		}
	})
}

// FuzzKDC answers requests with anything: in plain text, encrypted with the right key, and as the
// e-data of an error.
func FuzzKDC(f *testing.F) {
	issued := testTicket(parsePrincipal("host/web1@FLEET.TEST", ""))
	good, _ := encodeReply(issued, 7)
	f.Add(good, []byte{})
	hints, _ := sequenceOf(func(e encoder) {
		e.sequence(func(e encoder) {
			e.int(1, int64(paEtypeInfo2))
			info, _ := sequenceOf(func(e encoder) {
				e.sequence(func(e encoder) {
					e.int(0, int64(aes256SHA1))
					e.text(1, "salt")
					e.bytes(2, []byte{0, 0, 16, 0})
				})
			})
			e.bytes(2, info)
		})
	})
	f.Add(encodeError(codePreauthRequired, time.Unix(0, 0), hints), hints)
	part, _ := testKey().decrypt(usageTGSReply, mustReply(good).part.cipher)
	f.Add([]byte{}, part)
	f.Fuzz(func(_ *testing.T, data, part []byte) {
		request := &kdcRequest{kind: msgTGSRequest, nonce: 7}
		open := func(reply *kdcReply, err error) {
			if err == nil {
				chooseEtype(reply.padata, defaultEtypes())
				reply.open(testKey(), usageTGSReply, request)
			}
			if kerr := (*kdcError)(nil); errors.As(err, &kerr) {
				chooseEtype(kerr.padata, defaultEtypes())
				_ = kerr.Error()
			}
		}
		open(parseReply(data, msgASRequest))
		open(parseReply(data, msgTGSRequest))
		cipher, err := testKey().encrypt(usageTGSReply, part)
		open(&kdcReply{part: encrypted{etype: aes256SHA1, cipher: cipher}}, err)
		open(parseReply(encodeError(codePreauthRequired, time.Unix(0, 0), part), msgASRequest))
		testKey().decrypt(usageTGSReply, data)
		parseTicket(data)
		parsePrincipalRecord(data)
	})
}

func mustReply(data []byte) *kdcReply {
	reply, err := parseReply(data, msgTGSRequest)
	if err != nil {
		panic(err)
	}
	return reply
}
