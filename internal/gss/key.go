package gss

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"github.com/jcmturner/gokrb5/v8/crypto"
	"github.com/jcmturner/gokrb5/v8/crypto/etype"
)

// The supported encryption types (RFC 3962, RFC 8009).
const (
	aes128SHA1 int32 = 17
	aes256SHA1 int32 = 18
	aes128SHA2 int32 = 19
	aes256SHA2 int32 = 20
)

// defaultEtypes returns the supported types in MIT's order of preference.
func defaultEtypes() []int32 {
	return []int32{aes256SHA1, aes128SHA1, aes256SHA2, aes128SHA2}
}

// Key usage numbers (RFC 4120, section 7.5.1, and RFC 4121, section 2).
const (
	usageTimestamp        uint32 = 1  // PA-ENC-TIMESTAMP, with the client's key
	usageASReply          uint32 = 3  // with the client's key
	usageTGSChecksum      uint32 = 6  // checksum of the body of a TGS-REQ
	usageTGSAuthenticator uint32 = 7  // with the TGT's session key
	usageTGSReply         uint32 = 8  // with the TGT's session key
	usageAuthenticator    uint32 = 11 // with the service ticket's session key
	usageAPReply          uint32 = 12
	usageCred             uint32 = 14 // KRB-CRED
	usageInitiatorSign    uint32 = 25 // MIC of the initiator
)

const confounder = 16 // random bytes in front of each plain text

// sizes has the lengths of an encryption type's key and checksum in bytes, and its checksum type.
type sizes struct{ key, sum, sumType int }

func sizesOf(etype int32) (sizes, bool) {
	switch etype {
	case aes128SHA1:
		return sizes{16, 12, 15}, true
	case aes256SHA1:
		return sizes{32, 12, 16}, true
	case aes128SHA2:
		return sizes{16, 16, 19}, true
	case aes256SHA2:
		return sizes{32, 24, 20}, true
	}
	return sizes{}, false
}

// key is an encryption key. Only its methods call gokrb5, which panics on some inputs: see guard.
type key struct {
	etype int32
	value []byte
}

// Format writes the type of the key, without its value.
func (k key) Format(s fmt.State, _ rune) { fmt.Fprintf(s, "key(%s)", etypeName(k.etype)) }

// newKey returns a random key of the same type.
func (k key) newKey() key {
	value := make([]byte, len(k.value))
	rand.Read(value)
	return key{k.etype, value}
}

// supported reports whether the encryption type is supported and the key has the right length.
func (k key) supported() bool {
	s, ok := sizesOf(k.etype)
	return ok && len(k.value) == s.key
}

func (k key) encrypt(usage uint32, plain []byte) (cipher []byte, err error) {
	err = k.guard(func(e etype.EType) (err error) {
		_, cipher, err = e.EncryptMessage(k.value, plain, usage)
		return err
	})
	return cipher, err
}

// errIntegrity means that a text was encrypted with another key, or was changed.
var errIntegrity = errors.New("wrong key, or message changed in transit")

func (k key) decrypt(usage uint32, cipher []byte) (plain []byte, err error) {
	if s, _ := sizesOf(k.etype); len(cipher) < confounder+s.sum {
		return nil, errMalformed
	}
	err = k.guard(func(e etype.EType) (err error) {
		if plain, err = e.DecryptMessage(k.value, cipher, usage); err != nil {
			return errIntegrity
		}
		return nil
	})
	return plain, err
}

// checksum returns a keyed checksum, and its type.
func (k key) checksum(usage uint32, data []byte) (sum []byte, sumType int, err error) {
	s, _ := sizesOf(k.etype)
	err = k.guard(func(e etype.EType) (err error) {
		sum, err = e.GetChecksumHash(k.value, data, usage)
		return err
	})
	return sum, s.sumType, err
}

// guard calls gokrb5 and converts a panic to an error.
func (k key) guard(call func(etype.EType) error) (err error) {
	defer func() {
		if recover() != nil {
			err = errMalformed
		}
	}()
	if !k.supported() {
		return unsupportedEtype(k.etype)
	}
	e, err := crypto.GetEtype(k.etype)
	if err != nil {
		return err
	}
	return call(e)
}

// maxIterations limits the iteration count that a KDC can demand for a password. It takes seconds
// to compute.
const maxIterations = 1 << 21

// passwordKey derives a key from a password (string-to-key, RFC 3961). params are the parameters
// from the KDC; empty means the default of the encryption type.
func passwordKey(etypeNumber int32, password, salt string, params []byte) (key, error) {
	s, ok := sizesOf(etypeNumber)
	if !ok {
		return key{}, unsupportedEtype(etypeNumber)
	}
	k := key{etypeNumber, make([]byte, s.key)}
	err := k.guard(func(e etype.EType) (err error) {
		iterations := e.GetDefaultStringToKeyParams()
		if len(params) > 0 {
			if len(params) != 4 || binary.BigEndian.Uint32(params) > maxIterations || binary.BigEndian.Uint32(params) == 0 {
				return errors.New("the KDC demands an unacceptable iteration count for the password key")
			}
			iterations = hex.EncodeToString(params)
		}
		k.value, err = e.StringToKey(password, salt, iterations)
		return err
	})
	return k, err
}

func unsupportedEtype(etype int32) error {
	return fmt.Errorf("encryption type %s is not supported; only AES is", etypeName(etype))
}

// etypeNames returns MIT's names of an encryption type (src/lib/crypto/krb/etypes.c), the canonical
// one first.
func etypeNames(etype int32) []string {
	switch etype {
	case aes128SHA1:
		return []string{"aes128-cts-hmac-sha1-96", "aes128-cts", "aes128-sha1"}
	case aes256SHA1:
		return []string{"aes256-cts-hmac-sha1-96", "aes256-cts", "aes256-sha1"}
	case aes128SHA2:
		return []string{"aes128-cts-hmac-sha256-128", "aes128-sha2"}
	case aes256SHA2:
		return []string{"aes256-cts-hmac-sha384-192", "aes256-sha2"}
	case 16:
		return []string{"des3-cbc-sha1"}
	case 23:
		return []string{"arcfour-hmac"}
	}
	return []string{fmt.Sprint(etype)}
}

func etypeName(etype int32) string { return etypeNames(etype)[0] }

// parseEtypes parses a list as in permitted_enctypes: names, families such as "aes", and DEFAULT. A
// "-" in front of a word removes types. Types that are not supported are left out.
func parseEtypes(words []string) []int32 {
	var list []int32
	for _, word := range words {
		remove := word[0] == '-'
		if remove || word[0] == '+' {
			word = word[1:]
		}
		for _, e := range defaultEtypes() {
			named := slices.Contains(etypeNames(e), word) || word == "aes" || word == "default"
			switch {
			case named && remove:
				list = slices.DeleteFunc(list, func(have int32) bool { return have == e })
			case named && !slices.Contains(list, e):
				list = append(list, e)
			}
		}
	}
	return list
}
