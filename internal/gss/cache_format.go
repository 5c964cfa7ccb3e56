package gss

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/crypto/cryptobyte"
)

// The rules of this file: tickets in caches are records of big-endian numbers and of
// strings with their length in front (MIT, "Credential cache file format"). Caches in
// files, in a daemon and in the kernel have the same records.

// cacheReader reads records. It remembers the first failure.
type cacheReader struct {
	rest   cryptobyte.String
	v3     bool // the keys of version 3 have their type twice
	failed bool
}

func (r *cacheReader) check(ok bool) { r.failed = r.failed || !ok }

func (r *cacheReader) uint8() (v uint8) {
	r.check(r.rest.ReadUint8(&v))
	return v
}

func (r *cacheReader) uint16() (v uint16) {
	r.check(r.rest.ReadUint16(&v))
	return v
}

func (r *cacheReader) uint32() (v uint32) {
	r.check(r.rest.ReadUint32(&v))
	return v
}

// bytes reads a string with its length in front.
func (r *cacheReader) bytes() (v []byte) {
	n := r.uint32()
	if r.failed || uint64(n) > uint64(len(r.rest)) {
		r.failed = true
		return nil
	}
	r.check(r.rest.ReadBytes(&v, int(n)))
	return v
}

// time reads seconds since 1970. They are unsigned, and so good until 2106.
func (r *cacheReader) time() time.Time {
	seconds := r.uint32()
	if seconds == 0 {
		return time.Time{}
	}
	return time.Unix(int64(seconds), 0)
}

func (r *cacheReader) principal() principal {
	p := principal{nameType: int32(r.uint32())}
	n := r.uint32()
	r.check(n <= maxNames)
	p.realm = string(r.bytes())
	for range n {
		if r.failed {
			break
		}
		p.names = append(p.names, string(r.bytes()))
	}
	return p
}

func (r *cacheReader) key() key {
	etype := int32(r.uint16())
	if r.v3 {
		r.uint16()
	}
	return key{etype, r.bytes()}
}

func (r *cacheReader) ticket() *ticket {
	t := &ticket{client: r.principal(), server: r.principal(), key: r.key()}
	t.authTime, t.start, t.end, t.renewTill = r.time(), r.time(), r.time(), r.time()
	r.uint8() // whether it is for a user: then a second ticket belongs to it
	t.flags = r.uint32()
	for range 2 { // addresses, authorization data
		for range r.uint32() {
			r.uint16()
			r.bytes()
			if r.failed {
				return t
			}
		}
	}
	t.raw = r.bytes()
	r.bytes()
	return t
}

// configRealm is the realm of records that hold settings of the cache, not tickets.
const configRealm = "X-CACHECONF:"

// parseTicket reads a record with one ticket. It is nil for a setting of the cache.
func parseTicket(data []byte) (*ticket, error) {
	r := &cacheReader{rest: data}
	t := r.ticket()
	if r.failed {
		return nil, errMalformed
	}
	if t.server.realm == configRealm || !isTicket(t.raw) {
		return nil, nil
	}
	return t, nil
}

// parsePrincipalRecord reads a record with a principal.
func parsePrincipalRecord(data []byte) (principal, error) {
	r := &cacheReader{rest: data}
	p := r.principal()
	if r.failed {
		return principal{}, errMalformed
	}
	return p, nil
}

// maxTickets is a limit to the tickets that are taken from a cache.
const maxTickets = 20000

// parseCacheFile reads a FILE: cache. What stands behind the last whole ticket is
// left out: somebody may be writing it.
func parseCacheFile(data []byte) (*cache, error) {
	if len(data) == 0 {
		return nil, errors.New("is empty")
	}
	if len(data) < 2 || data[0] != 5 {
		return nil, errors.New("is no credential cache")
	}
	r := &cacheReader{rest: data[2:], v3: data[1] == 3}
	switch data[1] {
	case 3:
	case 4:
		var header cryptobyte.String
		r.check(r.rest.ReadUint16LengthPrefixed(&header))
	default:
		return nil, fmt.Errorf("has version %d of the format, which is not supported", data[1])
	}
	c := &cache{principal: r.principal()}
	if r.failed {
		return nil, errors.New("is damaged")
	}
	for !r.rest.Empty() && len(c.tickets) < maxTickets {
		t := r.ticket()
		if r.failed {
			break
		}
		if t.server.realm != configRealm && isTicket(t.raw) {
			c.tickets = append(c.tickets, t)
		}
	}
	return c, nil
}
