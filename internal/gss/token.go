package gss

import (
	"encoding/binary"
	"errors"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// The kinds of tokens (RFC 4121 section 4.1).
const (
	tokenAPRequest uint16 = 0x0100
	tokenAPReply   uint16 = 0x0200
	tokenError     uint16 = 0x0300
)

// mechanism is the object identifier of Kerberos 5, 1.2.840.113554.1.2.2, as DER.
const mechanism = "\x06\x09\x2a\x86\x48\x86\xf7\x12\x01\x02\x02"

// frame puts the identifier of the mechanism in front of a message (RFC 2743
// section 3.1).
func frame(kind uint16, message []byte) ([]byte, error) {
	var b cryptobyte.Builder
	b.AddASN1(applicationTag(0), func(b *cryptobyte.Builder) {
		b.AddBytes([]byte(mechanism))
		b.AddUint16(kind)
		b.AddBytes(message)
	})
	return b.Bytes()
}

// unframe returns the kind of a token and the message in it.
func unframe(token []byte) (kind uint16, message []byte, err error) {
	rest := cryptobyte.String(token)
	var inner, oid cryptobyte.String
	if !rest.ReadASN1(&inner, applicationTag(0)) || !rest.Empty() || !inner.ReadASN1Element(&oid, asn1.OBJECT_IDENTIFIER) {
		return 0, nil, errMalformed
	}
	if string(oid) != mechanism {
		return 0, nil, errors.New("the server answers with another mechanism than Kerberos 5")
	}
	if !inner.ReadUint16(&kind) {
		return 0, nil, errMalformed
	}
	return kind, inner, nil
}

// The flags of a context (RFC 4121 section 4.1.1.1).
const (
	contextDelegate uint32 = 1
	contextMutual   uint32 = 2
	contextInteg    uint32 = 32
)

// contextChecksumType marks a checksum that is not one, but says what the context is
// to be like.
const contextChecksumType = 0x8003

// contextChecksum says what the context is to be like, with the KRB-CRED that
// delegates, if there is one (RFC 4121 section 4.1.1). It is bound to no channel: SSH
// binds by the MIC (RFC 4462 section 3.5).
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

// maxCred is what the length of a KRB-CRED has room for.
const maxCred = 1<<16 - 1

// mic signs a message (RFC 4121 section 4.2.6.1). The key is the acceptor's subkey, if
// it has sent one.
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
