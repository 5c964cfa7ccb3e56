package gss

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// The operations of the KCM protocol for reading caches. Requests and replies begin with their
// length. In a request, the protocol version and the operation follow; in a reply, the status of
// the transport, which does not count towards the length, and the status of the operation (MIT,
// src/include/kcm.h).
const (
	kcmGetPrincipal    uint16 = 8
	kcmGetTicketIDs    uint16 = 9
	kcmGetTicketByID   uint16 = 10
	kcmGetCacheIDs     uint16 = 18
	kcmGetCacheByID    uint16 = 19
	kcmGetDefaultCache uint16 = 20
)

const (
	kcmTimeout  = 5 * time.Second // for one connection
	kcmMaxReply = 1 << 20         // bytes
	kcmIDSize   = 16              // bytes of the ID of a cache or ticket
)

// kcm is a connection to the KCM daemon.
type kcm struct {
	conn io.ReadWriter
	path string
}

// kcmCollection returns the caches of the user in the KCM daemon, or only the one called name if
// that is not empty.
func kcmCollection(ctx context.Context, socket, name string) collection {
	// connected calls talk with a connection that ends after kcmTimeout.
	connected := func(talk func(*kcm) error) error {
		ctx, cancel := context.WithTimeout(ctx, kcmTimeout)
		defer cancel()
		conn, err := new(net.Dialer).DialContext(ctx, "unix", socket)
		if err != nil {
			return fmt.Errorf("the KCM daemon cannot be reached: %v", err) // not %w: a missing socket does not mean a missing ticket
		}
		defer conn.Close()
		defer endWith(ctx, conn)()
		return talk(&kcm{conn, socket})
	}
	primary := func() (c *cache, err error) {
		err = connected(func(k *kcm) error {
			wanted := name
			if wanted == "" {
				var reply []byte
				if reply, err = k.call(kcmGetDefaultCache); err != nil {
					return err
				}
				wanted = kcmName(reply)
			}
			c, err = k.cache(wanted)
			return err
		})
		return c, err
	}
	if name != "" {
		return collection{primary: primary}
	}
	return collection{primary: primary, all: func(yield func(*cache) bool) {
		// Caches that cannot be read are skipped. If the daemon cannot be reached, primary
		// has reported it.
		_ = connected(func(k *kcm) error {
			ids, err := k.call(kcmGetCacheIDs)
			if err != nil {
				return err
			}
			for range min(len(ids)/kcmIDSize, maxCaches) {
				var reply []byte
				if reply, err = k.call(kcmGetCacheByID, ids[:kcmIDSize]); err != nil {
					return err
				}
				ids = ids[kcmIDSize:]
				if c, err := k.cache(kcmName(reply)); err == nil && !yield(c) {
					return nil
				}
			}
			return nil
		})
	}}
}

// kcmName returns a zero-terminated string.
func kcmName(data []byte) string {
	name, _, _ := bytes.Cut(data, []byte{0})
	return string(name)
}

// cache reads a cache and its tickets.
func (k *kcm) cache(name string) (*cache, error) {
	id := append([]byte(name), 0)
	reply, err := k.call(kcmGetPrincipal, id)
	if err != nil {
		return nil, err
	}
	c := &cache{name: "KCM:" + name}
	if c.principal, err = parsePrincipalRecord(reply); err != nil || len(c.principal.names) == 0 {
		return nil, errNoCache
	}
	tickets, err := k.call(kcmGetTicketIDs, id)
	if err != nil {
		return nil, err
	}
	size := 0
	for range min(len(tickets)/kcmIDSize, maxTickets) {
		reply, err := k.call(kcmGetTicketByID, id, tickets[:kcmIDSize])
		tickets = tickets[kcmIDSize:]
		var status kcmStatus
		if errors.As(err, &status) {
			continue // the ticket was removed meanwhile
		}
		if err != nil {
			return nil, err
		}
		if size += len(reply); size > maxCacheFile {
			return nil, errMalformed
		}
		if t, err := parseTicket(reply); err == nil && t != nil {
			c.tickets = append(c.tickets, t)
		}
	}
	return c, nil
}

// kcmStatus is an error code of the daemon, in the numbering of com_err.
type kcmStatus int32

// The codes that mean that there is no cache.
const (
	kcmNoFile   kcmStatus = -1765328189 // KRB5_FCC_NOFILE
	kcmNotFound kcmStatus = -1765328243 // KRB5_CC_NOTFOUND
	kcmEnd      kcmStatus = -1765328242 // KRB5_CC_END
)

// Error implements [error].
func (s kcmStatus) Error() string {
	return fmt.Sprintf("the KCM daemon returned error %d", int32(s))
}

// Is reports whether the status means that there is no cache.
func (s kcmStatus) Is(target error) bool {
	return target == errNoCache && (s == kcmNoFile || s == kcmNotFound || s == kcmEnd)
}

// call sends a request and returns the reply. A status other than zero is a kcmStatus error.
func (k *kcm) call(operation uint16, arguments ...[]byte) ([]byte, error) {
	body := append([]byte{2, 0, byte(operation >> 8), byte(operation)}, bytes.Join(arguments, nil)...)
	request := append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...)
	if _, err := k.conn.Write(request); err != nil {
		return nil, k.failed(err)
	}
	reply, err := readKCMReply(k.conn)
	if status := kcmStatus(0); err != nil && !errors.As(err, &status) {
		return nil, k.failed(err)
	}
	return reply, err
}

func (k *kcm) failed(err error) error {
	return fmt.Errorf("the KCM daemon at %s does not answer: %w", k.path, err)
}

// readKCMReply reads a reply. A status other than zero is a kcmStatus error.
func readKCMReply(r io.Reader) ([]byte, error) {
	var head [8]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	length := binary.BigEndian.Uint32(head[:])
	if status := kcmStatus(binary.BigEndian.Uint32(head[4:])); status != 0 {
		return nil, status
	}
	if length < 4 || length > kcmMaxReply {
		return nil, errMalformed
	}
	// CopyN allocates as bytes arrive, so that a false length takes no memory.
	var b bytes.Buffer
	if _, err := io.CopyN(&b, r, int64(length)); err != nil {
		return nil, err
	}
	reply := b.Bytes()
	if status := kcmStatus(binary.BigEndian.Uint32(reply)); status != 0 {
		return nil, status
	}
	return reply[4:], nil
}
