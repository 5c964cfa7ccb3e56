package gss

import (
	"errors"
	"time"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// Kerberos messages are DER with explicit tags (RFC 4120, section 5 and appendix A). Each message
// is a SEQUENCE in an APPLICATION tag, and each of its fields has a context tag [n]. Encoder and
// decoder record a failure instead of returning it, so that the code of a message is the list of
// its fields.

// errMalformed means that a message or file does not have the expected format.
var errMalformed = errors.New("malformed message")

func applicationTag(n uint8) asn1.Tag { return asn1.Tag(n | 0x60) }
func contextTag(n uint8) asn1.Tag     { return asn1.Tag(n).Constructed().ContextSpecific() }

// maxNames limits the components of a principal's name.
const maxNames = 32

// encoder writes the fields of a message.
type encoder struct{ *cryptobyte.Builder }

// message encodes a SEQUENCE in an APPLICATION tag.
func message(tag uint8, fields func(encoder)) ([]byte, error) {
	var b cryptobyte.Builder
	b.AddASN1(applicationTag(tag), func(b *cryptobyte.Builder) { encoder{b}.sequence(fields) })
	return b.Bytes()
}

// sequenceOf encodes a SEQUENCE.
func sequenceOf(fields func(encoder)) ([]byte, error) {
	var b cryptobyte.Builder
	encoder{&b}.sequence(fields)
	return b.Bytes()
}

func (e encoder) sequence(fields func(encoder)) {
	e.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) { fields(encoder{b}) })
}

func (e encoder) field(n uint8, value func(encoder)) {
	e.AddASN1(contextTag(n), func(b *cryptobyte.Builder) { value(encoder{b}) })
}

func (e encoder) int(n uint8, v int64)   { e.field(n, func(e encoder) { e.AddASN1Int64(v) }) }
func (e encoder) raw(n uint8, v []byte)  { e.field(n, func(e encoder) { e.AddBytes(v) }) }
func (e encoder) text(n uint8, v string) { e.field(n, func(e encoder) { e.string(v) }) }

func (e encoder) bytes(n uint8, v []byte) {
	e.field(n, func(e encoder) { e.AddASN1OctetString(v) })
}

func (e encoder) string(v string) {
	e.AddASN1(asn1.GeneralString, func(b *cryptobyte.Builder) { b.AddBytes([]byte(v)) })
}

// time writes a time in seconds. It omits the field for the zero time.
func (e encoder) time(n uint8, v time.Time) {
	if !v.IsZero() {
		e.field(n, func(e encoder) { e.AddASN1GeneralizedTime(v.UTC().Truncate(time.Second)) })
	}
}

func (e encoder) flags(n uint8, v uint32) {
	bits := []byte{byte(v >> 24), byte(v >> 16), byte(v >> 8), byte(v)}
	e.field(n, func(e encoder) { e.AddASN1BitString(bits) })
}

// name writes a PrincipalName, which does not contain the realm.
func (e encoder) name(n uint8, p principal) {
	e.field(n, func(e encoder) {
		e.sequence(func(e encoder) {
			e.int(0, int64(p.nameType))
			e.field(1, func(e encoder) {
				e.sequence(func(e encoder) {
					for _, name := range p.names {
						e.string(name)
					}
				})
			})
		})
	})
}

// key writes an EncryptionKey.
func (e encoder) key(n uint8, k key) {
	e.field(n, func(e encoder) {
		e.sequence(func(e encoder) {
			e.int(0, int64(k.etype))
			e.bytes(1, k.value)
		})
	})
}

// encrypted writes an EncryptedData.
func (e encoder) encrypted(n uint8, k key, usage uint32, plain []byte) {
	cipher, err := k.encrypt(usage, plain)
	if err != nil {
		e.SetError(err)
		return
	}
	e.field(n, func(e encoder) {
		e.sequence(func(e encoder) {
			e.int(0, int64(k.etype))
			e.bytes(2, cipher)
		})
	})
}

// decoder reads the fields of a message in order.
type decoder struct {
	rest   cryptobyte.String
	failed *bool // shared with the decoders of the fields
}

// parse reads a message with an APPLICATION tag. It calls fields to read the fields, and skips
// those that fields does not read.
func parse(data []byte, tag uint8, fields func(*decoder)) error {
	return parseElement(data, applicationTag(tag), func(d *decoder) { fields(d.sequence()) })
}

// parseElement reads one element.
func parseElement(data []byte, tag asn1.Tag, content func(*decoder)) error {
	failed := false
	d := decoder{cryptobyte.String(data), &failed}
	inner := d.element(tag)
	if !failed {
		content(inner)
	}
	if failed {
		return errMalformed
	}
	return nil
}

func (d *decoder) check(ok bool) { *d.failed = *d.failed || !ok }

func (d *decoder) element(tag asn1.Tag) *decoder {
	inner := &decoder{failed: d.failed}
	d.check(d.rest.ReadASN1(&inner.rest, tag))
	return inner
}

func (d *decoder) sequence() *decoder { return d.element(asn1.SEQUENCE) }

// field reads a required field. It skips the fields before it.
func (d *decoder) field(n uint8) *decoder {
	for !d.rest.PeekASN1Tag(contextTag(n)) {
		var skipped cryptobyte.String
		var tag asn1.Tag
		if !d.rest.ReadAnyASN1(&skipped, &tag) || tag > contextTag(n) {
			d.check(false)
			return &decoder{failed: d.failed}
		}
	}
	return d.element(contextTag(n))
}

// optional reads an optional field.
func (d *decoder) optional(n uint8) (*decoder, bool) {
	if !d.rest.PeekASN1Tag(contextTag(n)) {
		return nil, false
	}
	return d.field(n), true
}

// each calls a function for each remaining element.
func (d *decoder) each(element func(*decoder)) {
	for !*d.failed && !d.rest.Empty() {
		element(d)
	}
}

func (d *decoder) int(n uint8) (v int64) {
	f := d.field(n)
	f.check(f.rest.ReadASN1Integer(&v))
	return v
}

// int32 reads an Int32, and fails for larger integers.
func (d *decoder) int32(n uint8) int32 {
	v := d.int(n)
	d.check(int64(int32(v)) == v)
	return int32(v)
}

func (d *decoder) optionalInt(n uint8) (v int64) {
	if d.rest.PeekASN1Tag(contextTag(n)) {
		v = d.int(n)
	}
	return v
}

func (d *decoder) bytes(n uint8) []byte {
	f := d.field(n)
	return f.element(asn1.OCTET_STRING).rest
}

func (d *decoder) text(n uint8) string {
	f := d.field(n)
	return string(f.element(asn1.GeneralString).rest)
}

func (d *decoder) optionalText(n uint8) string {
	if !d.rest.PeekASN1Tag(contextTag(n)) {
		return ""
	}
	return d.text(n)
}

func (d *decoder) time(n uint8) (v time.Time) {
	f := d.field(n)
	f.check(f.rest.ReadASN1GeneralizedTime(&v))
	return v
}

func (d *decoder) optionalTime(n uint8) (v time.Time) {
	if d.rest.PeekASN1Tag(contextTag(n)) {
		v = d.time(n)
	}
	return v
}

// flags reads KerberosFlags. It needs at least 32 bits and ignores more.
func (d *decoder) flags(n uint8) (v uint32) {
	f := d.field(n)
	bits := f.element(asn1.BIT_STRING).rest
	if len(bits) < 5 { // the first byte is the number of unused bits in the last one
		d.check(false)
		return 0
	}
	return uint32(bits[1])<<24 | uint32(bits[2])<<16 | uint32(bits[3])<<8 | uint32(bits[4])
}

// name reads a PrincipalName.
func (d *decoder) name(n uint8) principal {
	s := d.field(n).sequence()
	p := principal{nameType: s.int32(0)}
	s.field(1).sequence().each(func(d *decoder) {
		p.names = append(p.names, string(d.element(asn1.GeneralString).rest))
		d.check(len(p.names) <= maxNames)
	})
	return p
}

// key reads an EncryptionKey.
func (d *decoder) key(n uint8) key {
	s := d.field(n).sequence()
	return key{s.int32(0), s.bytes(1)}
}

// encrypted is an EncryptedData.
type encrypted struct {
	etype  int32
	kvno   int64
	cipher []byte
}

func (d *decoder) encrypted(n uint8) encrypted {
	s := d.field(n).sequence()
	return encrypted{s.int32(0), s.optionalInt(1), s.bytes(2)}
}
