package gss

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"time"

	"golang.org/x/crypto/cryptobyte/asn1"
)

// Message types, which are also the numbers of the APPLICATION tags (RFC 4120, section 5.10).
const (
	msgTicket        = 1
	msgAuthenticator = 2
	msgASRequest     = 10
	msgASReply       = 11
	msgTGSRequest    = 12
	msgTGSReply      = 13
	msgAPRequest     = 14
	msgAPReply       = 15
	msgCred          = 22
	msgEncASReply    = 25
	msgEncTGSReply   = 26
	msgEncAPReply    = 27
	msgEncCred       = 29
	msgError         = 30
)

const version = 5 // pvno

// Types of pre-authentication data (RFC 4120, section 7.5.2, and RFC 6113).
const (
	paTGSRequest   int32 = 1
	paEncTimestamp int32 = 2
	paEtypeInfo2   int32 = 19
	paFXCookie     int32 = 133
)

// padata is a PA-DATA.
type padata struct {
	kind  int32
	value []byte
}

// kdcRequest is an AS-REQ or a TGS-REQ (RFC 4120, section 5.4.1).
type kdcRequest struct {
	kind      int // msgASRequest or msgTGSRequest
	options   uint32
	client    principal // only in an AS-REQ
	server    principal // in the realm of the KDC
	till      time.Time
	renewTill time.Time
	nonce     uint32
	etypes    []int32
	padata    []padata
}

// newNonce returns a nonce of 31 bits, because some KDCs read a signed integer.
func newNonce() uint32 {
	var b [4]byte
	rand.Read(b[:])
	return binary.BigEndian.Uint32(b[:]) >> 1
}

// body returns the encoded KDC-REQ-BODY.
func (r *kdcRequest) body() ([]byte, error) {
	return sequenceOf(func(e encoder) {
		e.flags(0, r.options)
		if r.kind == msgASRequest {
			e.name(1, r.client)
		}
		e.text(2, r.server.realm)
		e.name(3, r.server)
		e.time(5, r.till)
		e.time(6, r.renewTill)
		e.int(7, int64(r.nonce))
		e.field(8, func(e encoder) {
			e.sequence(func(e encoder) {
				for _, etype := range r.etypes {
					e.AddASN1Int64(int64(etype))
				}
			})
		})
	})
}

func (r *kdcRequest) encode() ([]byte, error) {
	body, err := r.body()
	if err != nil {
		return nil, err
	}
	return message(uint8(r.kind), func(e encoder) {
		e.int(1, version)
		e.int(2, int64(r.kind))
		if len(r.padata) > 0 {
			e.field(3, func(e encoder) {
				e.sequence(func(e encoder) {
					for _, pa := range r.padata {
						e.sequence(func(e encoder) {
							e.int(1, int64(pa.kind))
							e.bytes(2, pa.value)
						})
					}
				})
			})
		}
		e.raw(4, body)
	})
}

// kdcReply is an AS-REP or a TGS-REP (RFC 4120, section 5.4.2).
type kdcReply struct {
	padata []padata
	client principal
	ticket []byte
	part   encrypted
}

// parseReply parses the answer of a KDC: the reply to a request of the given type, or a KRB-ERROR,
// which it returns as a *kdcError.
func parseReply(data []byte, request int) (*kdcReply, error) {
	if isError(data) {
		kerr, err := parseError(data)
		if err != nil {
			return nil, err
		}
		return nil, kerr
	}
	var r kdcReply
	kind := request + 1
	err := parse(data, uint8(kind), func(d *decoder) {
		d.check(d.int(0) == version)
		d.check(d.int(1) == int64(kind))
		if f, ok := d.optional(2); ok {
			r.padata = f.padata()
		}
		realm := d.text(3)
		r.client = d.name(4)
		r.client.realm = realm
		r.ticket = d.ticket(5)
		r.part = d.encrypted(6)
	})
	return &r, err
}

// maxPAData limits the pre-authentication data of a KDC.
const maxPAData = 64

func (d *decoder) padata() []padata {
	var list []padata
	d.sequence().each(func(d *decoder) {
		s := d.sequence()
		list = append(list, padata{s.int32(1), s.bytes(2)})
		d.check(len(list) <= maxPAData)
	})
	return list
}

// ticket reads a Ticket and returns its encoding.
func (d *decoder) ticket(n uint8) []byte {
	raw := d.field(n).rest
	d.check(isTicket(raw))
	return raw
}

func isTicket(raw []byte) bool {
	return parse(raw, msgTicket, func(d *decoder) {
		d.check(d.int(0) == version)
		d.text(1)
		d.name(2)
		d.encrypted(3)
	}) == nil
}

// open decrypts the reply and checks that it answers the request.
func (r *kdcReply) open(k key, usage uint32, request *kdcRequest) (*ticket, error) {
	if r.part.etype != k.etype {
		return nil, unsupportedEtype(r.part.etype)
	}
	plain, err := k.decrypt(usage, r.part.cipher)
	if err != nil {
		return nil, err
	}
	// Some KDCs use the tag of an AS-REP for both (RFC 4120, section 5.4.2).
	tag := uint8(msgEncTGSReply)
	if len(plain) > 0 && asn1.Tag(plain[0]) == applicationTag(msgEncASReply) {
		tag = msgEncASReply
	}
	t := &ticket{client: r.client, raw: r.ticket}
	err = parse(plain, tag, func(d *decoder) {
		t.key = d.key(0)
		d.check(uint32(d.int(2)) == request.nonce)
		t.flags = d.flags(4)
		t.authTime = d.time(5)
		t.start = d.optionalTime(6)
		t.end = d.time(7)
		t.renewTill = d.optionalTime(8)
		realm := d.text(9)
		t.server = d.name(10)
		t.server.realm = realm
	})
	if err != nil {
		return nil, err
	}
	if !t.key.supported() {
		return nil, unsupportedEtype(t.key.etype)
	}
	return t, nil
}

// Error codes of KDCs and servers (RFC 4120, section 7.5.9).
const (
	codeClientExpired    = 1
	codeClientUnknown    = 6
	codeServiceUnknown   = 7
	codeNotYetValid      = 11
	codePolicy           = 12
	codeBadOption        = 13
	codeEtype            = 14
	codeRevoked          = 18
	codePasswordExpired  = 23
	codePreauthFailed    = 24
	codePreauthRequired  = 25
	codeMustUseUser2User = 27
	codeUnavailable      = 29
	codeIntegrity        = 31
	codeTicketExpired    = 32
	codeTicketNotYet     = 33
	codeSkew             = 37
	codeTooBig           = 52
	codeWrongRealm       = 68
)

// kdcError is a KRB-ERROR (RFC 4120, section 5.9.1).
type kdcError struct {
	code   int32
	time   time.Time // the clock of the sender
	realm  string    // the client's realm, if the error contains it
	text   string
	padata []padata // with codePreauthRequired or codePreauthFailed
}

func isError(data []byte) bool {
	return len(data) > 0 && asn1.Tag(data[0]) == applicationTag(msgError)
}

func parseError(data []byte) (*kdcError, error) {
	var k kdcError
	var more []byte
	err := parse(data, msgError, func(d *decoder) {
		d.check(d.int(0) == version)
		d.check(d.int(1) == msgError)
		k.time = d.time(4)
		micros := d.int(5)
		d.check(micros >= 0 && micros < 1e6)
		k.time = k.time.Add(time.Duration(micros) * time.Microsecond)
		k.code = d.int32(6)
		k.realm = d.optionalText(7)
		d.name(10)
		k.text = printable(d.optionalText(11))
		if f, ok := d.optional(12); ok {
			more = f.element(asn1.OCTET_STRING).rest
		}
	})
	if err != nil {
		return nil, err
	}
	if k.code == codePreauthRequired || k.code == codePreauthFailed {
		failed := false
		d := decoder{more, &failed}
		if list := d.padata(); !failed {
			k.padata = list
		}
	}
	return &k, nil
}

// Error returns the meaning of the code, with the text of the KDC if that says more.
func (k *kdcError) Error() string {
	meaning := k.meaning()
	if k.text == "" || k.code == codePreauthFailed || k.code == codeClientUnknown || k.code == codeServiceUnknown {
		return meaning
	}
	return fmt.Sprintf("%s (%s)", meaning, k.text)
}

func (k *kdcError) meaning() string {
	switch k.code {
	case codeClientExpired:
		return "the account has expired"
	case codeClientUnknown:
		return "the KDC does not know this client"
	case codeServiceUnknown:
		return "the KDC does not know this service"
	case codePolicy:
		return "the policy of the KDC does not allow it"
	case codeBadOption:
		return "the KDC refuses a requested option"
	case codeEtype:
		return "the KDC has no key of a permitted encryption type"
	case codeRevoked:
		return "the account is locked"
	case codePasswordExpired:
		return "the password has expired"
	case codePreauthFailed:
		return "the KDC refuses the password or key"
	case codePreauthRequired:
		return "the KDC requires pre-authentication"
	case codeMustUseUser2User:
		return "the service accepts only user-to-user tickets"
	case codeUnavailable:
		return "the KDC is not available"
	case codeIntegrity:
		return "a wrong key was used"
	case codeTicketExpired:
		return "the ticket has expired"
	case codeNotYetValid, codeTicketNotYet:
		return "the ticket is not yet valid"
	case codeSkew:
		return "the clocks differ too much"
	case codeWrongRealm:
		return "the client belongs to realm " + k.realm
	}
	return fmt.Sprintf("Kerberos error %d", k.code)
}

// printable returns a text from a peer for an error message: one line of at most 200 characters.
func printable(text string) string {
	const limit = 200
	clean := make([]rune, 0, min(len(text), limit))
	for _, r := range text {
		if len(clean) == limit {
			break
		}
		if r < ' ' || r == 0x7f || r == '\uFFFD' {
			r = ' '
		}
		clean = append(clean, r)
	}
	return string(clean)
}
