package gss

import (
	"encoding/binary"
	"errors"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// Token IDs (RFC 4121, section 4.1).
const (
	tokenAPRequest uint16 = 0x0100
	tokenAPReply   uint16 = 0x0200
	tokenError     uint16 = 0x0300
)

// mechanism is the DER encoding of the object identifier of Kerberos 5, 1.2.840.113554.1.2.2.
const mechanism = "\x06\x09\x2a\x86\x48\x86\xf7\x12\x01\x02\x02"

// frame returns a token with the mechanism, the token ID and a message (RFC 2743, section 3.1).
func frame(kind uint16, message []byte) ([]byte, error) {
	var b cryptobyte.Builder
	b.AddASN1(applicationTag(0), func(b *cryptobyte.Builder) {
		b.AddBytes([]byte(mechanism))
		b.AddUint16(kind)
		b.AddBytes(message)
	})
	return b.Bytes()
}

// unframe returns the token ID and the message of a token.
func unframe(token []byte) (kind uint16, message []byte, err error) {
	rest := cryptobyte.String(token)
	var inner, oid cryptobyte.String
	if !rest.ReadASN1(&inner, applicationTag(0)) || !rest.Empty() || !inner.ReadASN1Element(&oid, asn1.OBJECT_IDENTIFIER) {
		return 0, nil, errMalformed
	}
	if string(oid) != mechanism {
		return 0, nil, errors.New("the server answered with a mechanism other than Kerberos 5")
	}
	if !inner.ReadUint16(&kind) {
		return 0, nil, errMalformed
	}
	return kind, inner, nil
}

// Context flags (RFC 4121, section 4.1.1.1).
const (
	contextDelegate uint32 = 1
	contextMutual   uint32 = 2
	contextInteg    uint32 = 32
)

// contextChecksumType is the type of a checksum field that contains the context flags in place of a
// checksum.
const contextChecksumType = 0x8003

// contextChecksum returns the checksum field with the context flags and the KRB-CRED message, if
// there is one (RFC 4121, section 4.1.1). The channel bindings are zero: in SSH, the MIC binds the
// context to the session (RFC 4462, section 3.5).
func contextChecksum(flags uint32, cred []byte) []byte {
	sum := binary.LittleEndian.AppendUint32(nil, 16)
	sum = append(sum, make([]byte, 16)...)
	if cred != nil {
		flags |= contextDelegate
	}
	sum = binary.LittleEndian.AppendUint32(sum, flags)
	if cred != nil {
		sum = binary.LittleEndian.AppendUint16(sum, 1)
		sum = binary.LittleEndian.AppendUint16(sum, uint16(len(cred)))
		sum = append(sum, cred...)
	}
	return sum
}

// maxCred is the largest length of a KRB-CRED message, which has 16 bits.
const maxCred = 1<<16 - 1

// mic returns the MIC token of a message (RFC 4121, section 4.2.6.1). byAcceptor says that k is the
// subkey of the acceptor.
func mic(k key, byAcceptor bool, sequence uint64, message []byte) ([]byte, error) {
	token := []byte{0x04, 0x04, 0, 0xff, 0xff, 0xff, 0xff, 0xff}
	if byAcceptor {
		token[2] = 4
	}
	token = binary.BigEndian.AppendUint64(token, sequence)
	signed := append(append([]byte(nil), message...), token...)
	sum, _, err := k.checksum(usageInitiatorSign, signed)
	if err != nil {
		return nil, err
	}
	return append(token, sum...), nil
}
