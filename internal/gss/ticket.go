package gss

import (
	"time"
)

// The flags of tickets and requests (RFC 4120, sections 5.3 and 5.4.1). Bit 0 is the highest.
const (
	flagForwardable  uint32 = 1 << (31 - 1)
	flagForwarded    uint32 = 1 << (31 - 2)
	flagInvalid      uint32 = 1 << (31 - 7)
	flagRenewable    uint32 = 1 << (31 - 8)
	flagCanonicalize uint32 = 1 << (31 - 15) // only in requests
	flagRenewableOK  uint32 = 1 << (31 - 27) // only in requests
)

// ticket is a ticket with its session key and the fields that the KDC sent for the client.
type ticket struct {
	client, server principal
	key            key
	flags          uint32
	authTime       time.Time
	start          time.Time // the zero time means authTime
	end            time.Time
	renewTill      time.Time // the zero time means not renewable
	raw            []byte    // the DER encoding of the Ticket
}

// begins returns when the ticket becomes valid.
func (t *ticket) begins() time.Time {
	if t.start.IsZero() {
		return t.authTime
	}
	return t.start
}

// usable reports whether the ticket is valid now and its key is supported.
func (t *ticket) usable(now time.Time, skew time.Duration) bool {
	return t.flags&flagInvalid == 0 && now.Before(t.end) && !now.Add(skew).Before(t.begins()) && t.key.supported()
}
