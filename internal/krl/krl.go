package krl

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"slices"

	"golang.org/x/crypto/ssh"

	"fleetssh/internal/algorithms"
)

// magic begins a KRL. A list of keys cannot begin with it.
const magic = "SSHKRL\n\x00"

// The sections of a KRL, and those within a section about certificates (PROTOCOL.krl).
const (
	sectionCertificates = 1
	sectionKeys         = 2
	sectionSHA1         = 3
	sectionSHA256       = 5
	sectionExtension    = 255

	certSerials   = 0x20
	certRange     = 0x21
	certBitmap    = 0x22
	certKeyIDs    = 0x23
	certExtension = 0x39
)

// maxBitmap is the maximum number of serial numbers in one bitmap, as in OpenSSH.
const maxBitmap = 1 << 24

var errShort = errors.New("it is truncated")

// certificates are the revoked certificates of one authority.
type certificates struct {
	ranges  []serials // sorted, without overlaps
	bitmaps []bitmap
	ids     map[string]struct{}
}

// serials is a range of serial numbers, last included.
type serials struct{ first, last uint64 }

// A bitmap has a bit for each serial number from offset on, as a big-endian number: the lowest
// bit of the last byte stands for offset.
type bitmap struct {
	offset uint64
	bytes  []byte
}

// addKRL parses a KRL after its magic.
func (l *List) addKRL(data []byte) error {
	r := reader{data}
	version, err := r.uint32()
	if err != nil {
		return fmt.Errorf("KRL: %w", err)
	}
	if version != 1 {
		return fmt.Errorf("KRL: format version %d is not supported, only 1 is", version)
	}
	if _, err := r.take(3 * 8); err != nil { // version, date and flags of this list
		return fmt.Errorf("KRL: %w", err)
	}
	for range 2 { // reserved, comment
		if _, err := r.bytes(); err != nil {
			return fmt.Errorf("KRL: %w", err)
		}
	}
	for len(r.data) > 0 {
		kind, section, err := r.section()
		if err == nil {
			err = l.addSection(kind, section)
		}
		if err != nil {
			return fmt.Errorf("KRL: section %d: %w", kind, err)
		}
	}
	for _, c := range l.certs {
		c.sort()
	}
	return nil
}

func (l *List) addSection(kind byte, r reader) error {
	switch kind {
	case sectionCertificates:
		return l.addCertificates(r)
	case sectionExtension:
		return r.extension()
	case sectionKeys, sectionSHA1, sectionSHA256:
	default: // signatures too: nothing tells whose signature would count
		return errors.New("it is not supported")
	}
	for len(r.data) > 0 {
		blob, err := r.bytes()
		if err != nil {
			return err
		}
		switch {
		case kind == sectionKeys && len(blob) > 0:
			l.addKey(blob)
		case kind == sectionSHA1 && len(blob) == 20:
			l.sha1[[20]byte(blob)] = struct{}{}
		case kind == sectionSHA256 && len(blob) == 32:
			l.sha256[[32]byte(blob)] = struct{}{}
		default:
			return fmt.Errorf("an entry has %d bytes", len(blob))
		}
	}
	return nil
}

// addCertificates parses a section about the certificates of one authority, or of all.
func (l *List) addCertificates(r reader) error {
	authority, err := r.bytes()
	if err != nil {
		return err
	}
	if _, err := r.bytes(); err != nil { // reserved
		return err
	}
	if len(authority) > 0 {
		key, err := ssh.ParsePublicKey(authority)
		if err != nil {
			return fmt.Errorf("authority: %w", err)
		}
		authority = algorithms.PlainKey(key).Marshal()
	}
	c := l.certs[string(authority)]
	if c == nil {
		c = &certificates{ids: make(map[string]struct{})}
		l.certs[string(authority)] = c
	}
	for len(r.data) > 0 {
		kind, section, err := r.section()
		if err == nil {
			err = c.add(kind, section)
		}
		if err != nil {
			return fmt.Errorf("certificates %#x: %w", kind, err)
		}
	}
	return nil
}

// add parses a section within a section about certificates.
func (c *certificates) add(kind byte, r reader) error {
	switch kind {
	case certSerials:
		for len(r.data) > 0 {
			n, err := r.uint64()
			if err != nil {
				return err
			}
			if err := c.addSerials(n, n); err != nil {
				return err
			}
		}
	case certRange:
		first, err := r.uint64()
		if err != nil {
			return err
		}
		last, err := r.uint64()
		if err != nil {
			return err
		}
		if err := c.addSerials(first, last); err != nil {
			return err
		}
		return r.end()
	case certBitmap:
		return c.addBitmap(r)
	case certKeyIDs:
		for len(r.data) > 0 {
			id, err := r.bytes()
			if err != nil {
				return err
			}
			c.ids[string(id)] = struct{}{}
		}
	case certExtension:
		return r.extension()
	default:
		return errors.New("it is not supported")
	}
	return nil
}

func (c *certificates) addSerials(first, last uint64) error {
	if first == 0 || first > last {
		return fmt.Errorf("the range of serial numbers from %d to %d is not valid", first, last)
	}
	c.ranges = append(c.ranges, serials{first, last})
	return nil
}

func (c *certificates) addBitmap(r reader) error {
	offset, err := r.uint64()
	if err != nil {
		return err
	}
	number, err := r.bytes()
	if err != nil {
		return err
	}
	if len(number) > 0 && number[0]&0x80 != 0 {
		return errors.New("the bitmap is negative")
	}
	for len(number) > 0 && number[0] == 0 {
		number = number[1:]
	}
	if len(number) > maxBitmap/8 {
		return fmt.Errorf("the bitmap has more than %d bits", maxBitmap)
	}
	if n := len(number); n > 0 {
		highest := uint64(8*(n-1) + bits.Len8(number[0]) - 1)
		if offset+highest < offset {
			return errors.New("the bitmap goes beyond the last serial number")
		}
		c.bitmaps = append(c.bitmaps, bitmap{offset, number})
	}
	return r.end()
}

// sort sorts and merges the ranges, for binary search.
func (c *certificates) sort() {
	slices.SortFunc(c.ranges, func(a, b serials) int { return cmp.Compare(a.first, b.first) })
	merged := c.ranges[:0]
	for _, s := range c.ranges {
		if n := len(merged); n > 0 && s.first <= merged[n-1].last {
			merged[n-1].last = max(merged[n-1].last, s.last)
			continue
		}
		merged = append(merged, s)
	}
	c.ranges = merged
}

// reason returns why a certificate of the authority is revoked, or "". Serial number 0 means
// that the authority does not number its certificates.
func (c *certificates) reason(cert *ssh.Certificate) string {
	if _, ok := c.ids[cert.KeyId]; ok {
		return fmt.Sprintf("certificates with the key ID %.80q", cert.KeyId)
	}
	if cert.Serial != 0 && c.has(cert.Serial) {
		return fmt.Sprintf("the certificate with serial number %d", cert.Serial)
	}
	return ""
}

func (c *certificates) has(serial uint64) bool {
	i, found := slices.BinarySearchFunc(c.ranges, serial, func(s serials, n uint64) int { return cmp.Compare(s.first, n) })
	if found || i > 0 && serial <= c.ranges[i-1].last {
		return true
	}
	return slices.ContainsFunc(c.bitmaps, func(b bitmap) bool { return b.has(serial) })
}

func (b *bitmap) has(serial uint64) bool {
	n := serial - b.offset
	if serial < b.offset || n >= uint64(8*len(b.bytes)) {
		return false
	}
	return b.bytes[len(b.bytes)-1-int(n/8)]>>(n%8)&1 == 1
}

// A reader decodes the data types of RFC 4251, section 5.
type reader struct{ data []byte }

func (r *reader) take(n int) ([]byte, error) {
	if n > len(r.data) {
		return nil, errShort
	}
	taken := r.data[:n]
	r.data = r.data[n:]
	return taken, nil
}

func (r *reader) uint32() (uint32, error) {
	b, err := r.take(4)
	if err != nil {
		return 0, err
	}
	return binary.BigEndian.Uint32(b), nil
}

func (r *reader) uint64() (uint64, error) {
	b, err := r.take(8)
	if err != nil {
		return 0, err
	}
	return binary.BigEndian.Uint64(b), nil
}

// bytes decodes a string.
func (r *reader) bytes() ([]byte, error) {
	n, err := r.uint32()
	if err != nil {
		return nil, err
	}
	if uint64(n) > uint64(len(r.data)) {
		return nil, errShort
	}
	return r.take(int(n))
}

// section decodes the kind of a section and its content.
func (r *reader) section() (kind byte, section reader, err error) {
	b, err := r.take(1)
	if err != nil {
		return 0, reader{}, err
	}
	data, err := r.bytes()
	return b[0], reader{data}, err
}

// extension skips an extension, unless it is critical.
func (r *reader) extension() error {
	name, err := r.bytes()
	if err != nil {
		return err
	}
	critical, err := r.take(1)
	if err != nil {
		return err
	}
	if _, err := r.bytes(); err != nil {
		return err
	}
	if critical[0] != 0 {
		return fmt.Errorf("the extension %.80q is not supported", name)
	}
	return r.end()
}

func (r *reader) end() error {
	if len(r.data) > 0 {
		return errors.New("it has trailing data")
	}
	return nil
}
