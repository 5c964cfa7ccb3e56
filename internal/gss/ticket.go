package gss

import (
	"time"
)

// The flags of tickets and of requests for them (RFC 4120 sections 5.3, 5.4.1). Bit 0
// is the highest.
const (
	flagForwardable  uint32 = 1 << (31 - 1)
	flagForwarded    uint32 = 1 << (31 - 2)
	flagInvalid      uint32 = 1 << (31 - 7)
	flagRenewable    uint32 = 1 << (31 - 8)
	flagCanonicalize uint32 = 1 << (31 - 15) // of requests alone
	flagRenewableOK  uint32 = 1 << (31 - 27) // of requests alone
)

// ticket is one together with what its client must know of it.
type ticket struct {
	client, server principal
	key            key
	flags          uint32
	authTime       time.Time
	start          time.Time // the zero time means authTime
	end            time.Time
	renewTill      time.Time // the zero time means not renewable
	raw            []byte    // as its issuer made it: the DER of a Ticket
}

// begins returns from when on the ticket is valid.
func (t *ticket) begins() time.Time {
	if t.start.IsZero() {
		return t.authTime
	}
	return t.start
}

// usable reports whether the ticket can be shown to its server now.
func (t *ticket) usable(now time.Time, skew time.Duration) bool {
	return t.flags&flagInvalid == 0 && now.Before(t.end) && !now.Add(skew).Before(t.begins()) && t.key.spoken()
}
