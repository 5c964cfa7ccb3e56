package conn

import (
	"encoding/binary"
	"sync/atomic"
	"unique"

	"golang.org/x/crypto/ssh"
)

// Offer is the list of algorithms that a host has offered: what follows the cookie in its first
// SSH_MSG_KEXINIT (RFC 4253, section 7.1). Most hosts of a fleet send the same list, which they
// share in memory. The zero value lists nothing.
type Offer struct{ lists unique.Handle[string] }

// NewOffer returns the offer in what follows the cookie.
func NewOffer(lists []byte) Offer { return Offer{unique.Make(string(lists))} }

const (
	msgKexInit = 20
	cookieSize = 16
)

// Algorithms returns the algorithms of the list, most preferred first. It leaves out names that RFC
// 4251, section 6, does not allow.
func (o Offer) Algorithms() ssh.Algorithms {
	var none unique.Handle[string]
	if o.lists == none {
		return ssh.Algorithms{}
	}
	var lists struct {
		KeyExchanges, HostKeys                    []string
		CiphersClientServer, CiphersServerClient  []string
		MACsClientServer, MACsServerClient        []string
		CompressClientServer, CompressionToClient []string
		LanguagesClientServer, LanguagesToClient  []string
		FirstFollows                              bool
		Reserved                                  uint32
	}
	if ssh.Unmarshal([]byte(o.lists.Value()), &lists) != nil {
		return ssh.Algorithms{}
	}
	return ssh.Algorithms{
		KeyExchanges: Names(lists.KeyExchanges), HostKeys: Names(lists.HostKeys),
		Ciphers: Names(lists.CiphersClientServer), MACs: Names(lists.MACsClientServer),
	}
}

// maxName is the longest name of an algorithm or method (RFC 4251, section 6).
const maxName = 64

// Names returns the names of algorithms and methods that RFC 4251 allows: printable US-ASCII. A host
// can send anything.
func Names(names []string) []string {
	var good []string
next:
	for _, name := range names {
		if name == "" || len(name) > maxName {
			continue
		}
		for i := range len(name) {
			if name[i] <= ' ' || name[i] > '~' {
				continue next
			}
		}
		good = append(good, name)
	}
	return good
}

// maxPacket is the longest packet before the key exchange (RFC 4253, section 6.1).
const maxPacket = 35_000

// offerReader finds the Offer in what a host sends after its version line.
type offerReader struct {
	packet []byte // the received part of the first packet; nil after it
	done   bool
	offer  atomic.Pointer[Offer] // written once
}

// record adds received bytes, and reports whether it needs more. One goroutine at a time may call it.
func (r *offerReader) record(p []byte) bool {
	if r.done {
		return false
	}
	r.packet = append(r.packet, p[:min(len(p), maxPacket-len(r.packet))]...)
	if len(r.packet) < 5 {
		return true
	}
	length, padding := int(binary.BigEndian.Uint32(r.packet)), int(r.packet[4])
	if end := 4 + length; length >= 0 && end <= maxPacket {
		if len(r.packet) < end {
			return true
		}
		if payload := r.packet[5:max(5, end)]; len(payload) > padding+1+cookieSize && payload[0] == msgKexInit {
			offer := NewOffer(payload[1+cookieSize : len(payload)-padding])
			r.offer.Store(&offer)
		}
	}
	r.packet, r.done = nil, true
	return false
}
