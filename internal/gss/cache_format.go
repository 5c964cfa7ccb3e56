package gss

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/crypto/cryptobyte"
)

// Tickets in caches are records of big-endian integers and length-prefixed strings (MIT,
// "Credential cache file format"). The records are the same in files, in the KCM daemon and in
// kernel keyrings.

// cacheReader reads records. After a failure, failed is set and all values are invalid.
type cacheReader struct {
	rest   cryptobyte.String
	v3     bool // format version 3, which has the type of a key twice
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

// bytes reads a length-prefixed string.
func (r *cacheReader) bytes() (v []byte) {
	n := r.uint32()
	if r.failed || uint64(n) > uint64(len(r.rest)) {
		r.failed = true
		return nil
	}
	r.check(r.rest.ReadBytes(&v, int(n)))
	return v
}

// time reads seconds since 1970. They are unsigned, so they last until 2106.
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
	r.uint8() // is_skey: set for a user-to-user ticket, which has a second ticket
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
	r.bytes() // the second ticket
	return t
}

// configRealm is the realm of records that contain settings of the cache in place of a ticket.
const configRealm = "X-CACHECONF:"

// parseTicket parses a record with one ticket. It returns nil for a setting of the cache.
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

// parsePrincipalRecord parses a record with a principal.
func parsePrincipalRecord(data []byte) (principal, error) {
	r := &cacheReader{rest: data}
	p := r.principal()
	if r.failed {
		return principal{}, errMalformed
	}
	return p, nil
}

// maxTickets limits how many tickets of a cache are read.
const maxTickets = 20000

// parseCacheFile parses a FILE cache. It ignores an incomplete ticket at the end: another process
// may be writing it.
func parseCacheFile(data []byte) (*cache, error) {
	if len(data) == 0 {
		return nil, errors.New("the cache is empty")
	}
	if len(data) < 2 || data[0] != 5 {
		return nil, errors.New("not a credential cache")
	}
	r := &cacheReader{rest: data[2:], v3: data[1] == 3}
	switch data[1] {
	case 3:
	case 4:
		var header cryptobyte.String
		r.check(r.rest.ReadUint16LengthPrefixed(&header))
	default:
		return nil, fmt.Errorf("version %d of the cache format is not supported", data[1])
	}
	c := &cache{principal: r.principal()}
	if r.failed {
		return nil, errors.New("the cache is damaged")
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
