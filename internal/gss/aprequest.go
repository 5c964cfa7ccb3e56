package gss

import (
	"crypto/rand"
	"encoding/binary"
	"sync"
	"time"
)

// authenticator proves to a server that the client knows the session key of the ticket, at this
// time (RFC 4120, section 5.5.1).
type authenticator struct {
	time     time.Time
	checksum []byte
	sumType  int
	subkey   key // zero in requests to a KDC
	sequence uint32
}

// clock returns the times for authenticators. It never returns the same time twice: servers reject
// a second authenticator with the same time as a replay (RFC 4120, section 3.2.3).
type clock struct {
	mu   sync.Mutex // protects what follows
	last time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now().Truncate(time.Microsecond)
	if !now.After(c.last) {
		now = c.last.Add(time.Microsecond)
	}
	c.last = now
	return now
}

// newSequence returns an initial sequence number of 30 bits, because some implementations read a
// signed integer.
func newSequence() uint32 {
	var b [4]byte
	rand.Read(b[:])
	return binary.BigEndian.Uint32(b[:]) >> 2
}

// apMutual is the option mutual-required: the server must authenticate itself.
const apMutual uint32 = 1 << (31 - 2)

// apRequest returns an AP-REQ message (RFC 4120, section 5.5.1).
func (t *ticket) apRequest(a authenticator, usage, options uint32) ([]byte, error) {
	plain, err := message(msgAuthenticator, func(e encoder) {
		e.int(0, version)
		e.text(1, t.client.realm)
		e.name(2, t.client)
		e.field(3, func(e encoder) {
			e.sequence(func(e encoder) {
				e.int(0, int64(a.sumType))
				e.bytes(1, a.checksum)
			})
		})
		e.int(4, micros(a.time))
		e.time(5, a.time)
		if a.subkey.supported() {
			e.key(6, a.subkey)
			e.int(7, int64(a.sequence))
		}
	})
	if err != nil {
		return nil, err
	}
	return message(msgAPRequest, func(e encoder) {
		e.int(0, version)
		e.int(1, msgAPRequest)
		e.flags(2, options)
		e.raw(3, t.raw)
		e.encrypted(4, t.key, usage, plain)
	})
}

// apReply is the encrypted part of an AP-REP message (RFC 4120, section 5.5.2).
type apReply struct {
	time   time.Time
	micros int64
	subkey key // zero if the server uses the subkey of the client
}

// openAPReply decrypts an AP-REP message.
func openAPReply(data []byte, session key) (*apReply, error) {
	var part encrypted
	err := parse(data, msgAPReply, func(d *decoder) {
		d.check(d.int(0) == version)
		d.check(d.int(1) == msgAPReply)
		part = d.encrypted(2)
	})
	if err != nil {
		return nil, err
	}
	if part.etype != session.etype {
		return nil, errIntegrity
	}
	plain, err := session.decrypt(usageAPReply, part.cipher)
	if err != nil {
		return nil, err
	}
	var r apReply
	err = parse(plain, msgEncAPReply, func(d *decoder) {
		r.time = d.time(0)
		r.micros = d.int(1)
		if d.rest.PeekASN1Tag(contextTag(2)) {
			r.subkey = d.key(2)
		}
	})
	if err != nil {
		return nil, err
	}
	if r.subkey.value != nil && !r.subkey.supported() {
		return nil, unsupportedEtype(r.subkey.etype)
	}
	return &r, nil
}

// answers reports whether the reply answers this authenticator.
func (r *apReply) answers(a authenticator) bool {
	return r.time.Equal(a.time.UTC().Truncate(time.Second)) && r.micros == micros(a.time)
}
