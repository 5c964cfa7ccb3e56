package gss

import (
	"errors"
	"time"
)

// credMessage returns the KRB-CRED message that delegates a TGT (RFC 4120, section 5.8). It is
// encrypted with the session key of a service ticket.
func credMessage(tgt *ticket, session key) ([]byte, error) {
	now := time.Now()
	part, err := message(msgEncCred, func(e encoder) {
		e.field(0, func(e encoder) {
			e.sequence(func(e encoder) {
				e.sequence(tgt.encodeInfo)
			})
		})
		e.time(2, now)
		e.int(3, micros(now))
	})
	if err != nil {
		return nil, err
	}
	cred, err := message(msgCred, func(e encoder) {
		e.int(0, version)
		e.int(1, msgCred)
		e.field(2, func(e encoder) {
			e.sequence(func(e encoder) { e.AddBytes(tgt.raw) })
		})
		e.encrypted(3, session, usageCred, part)
	})
	if err == nil && len(cred) > maxCred {
		err = errors.New("the ticket is too large to be delegated")
	}
	return cred, err
}

// encodeInfo writes the fields of a KrbCredInfo.
func (t *ticket) encodeInfo(e encoder) {
	e.key(0, t.key)
	e.text(1, t.client.realm)
	e.name(2, t.client)
	e.flags(3, t.flags)
	e.time(4, t.authTime)
	e.time(5, t.start)
	e.time(6, t.end)
	e.time(7, t.renewTill)
	e.text(8, t.server.realm)
	e.name(9, t.server)
}
