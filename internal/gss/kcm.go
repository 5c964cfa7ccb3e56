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

// The operations of the KCM protocol that reading needs. Requests and replies have
// their length in front; a request then has the version of the protocol and the
// operation, a reply the status of the transport, which is not counted in its length,
// and the status of the operation (MIT, src/include/kcm.h).
const (
	kcmGetPrincipal    uint16 = 8
	kcmGetTicketIDs    uint16 = 9
	kcmGetTicketByID   uint16 = 10
	kcmGetCacheIDs     uint16 = 18
	kcmGetCacheByID    uint16 = 19
	kcmGetDefaultCache uint16 = 20
)

// The limits of a conversation with the daemon.
const (
	kcmTimeout  = 5 * time.Second
	kcmMaxReply = 1 << 20
	kcmIDSize   = 16
)

// kcm is a connection to the daemon that keeps caches.
type kcm struct {
	conn io.ReadWriter
	path string
}

// kcmCollection are the caches of the user at the daemon; a name behind the colon is
// one of them.
func kcmCollection(ctx context.Context, socket, name string) collection {
	// connected runs a conversation with a limit to its time.
	connected := func(talk func(*kcm) error) error {
		ctx, cancel := context.WithTimeout(ctx, kcmTimeout)
		defer cancel()
		conn, err := new(net.Dialer).DialContext(ctx, "unix", socket)
		if err != nil {
			return fmt.Errorf("the KCM daemon cannot be reached: %v", err) // not %w: a missing socket is no missing ticket
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
		// What cannot be read is left out; that the daemon is not there, primary says.
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

// kcmName reads a string that ends with a zero byte.
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
			continue // it has gone meanwhile
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

// kcmStatus is an error of the daemon, a number of com_err.
type kcmStatus int32

// The statuses that mean that there is nothing: KRB5_FCC_NOFILE, KRB5_CC_NOTFOUND,
// KRB5_CC_END.
const (
	kcmNoFile   kcmStatus = -1765328189
	kcmNotFound kcmStatus = -1765328243
	kcmEnd      kcmStatus = -1765328242
)

// Error says what the number means, if that is known.
func (s kcmStatus) Error() string {
	return fmt.Sprintf("the KCM daemon answers with error %d", int32(s))
}

// Is reports whether the status means that there is no cache.
func (s kcmStatus) Is(target error) bool {
	return target == errNoCache && (s == kcmNoFile || s == kcmNotFound || s == kcmEnd)
}

// call does one operation.
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

// readKCMReply reads a reply, or its status if that is not zero.
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
	// As it comes, so that a length that is a lie takes no memory.
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
