package keyfile

import (
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
)

// The limits of encrypted PKCS#8 keys, so that a file cannot take too much time or memory. OpenSSL
// uses 2048 iterations; a million takes less than a second.
const (
	maxIterations   = 10_000_000
	maxScryptMemory = 256 << 20 // bytes
	maxScryptLanes  = 16        // the parallelization parameter
)

var (
	oidPBES2  = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 13}
	oidPBKDF2 = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 12}
	oidScrypt = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11591, 4, 11}

	// blockSizes has the block sizes of the supported ciphers by object identifier:
	// AES-128-CBC, AES-192-CBC, AES-256-CBC and DES-EDE3-CBC.
	blockSizes = map[string]int{
		"2.16.840.1.101.3.4.1.2": 16, "2.16.840.1.101.3.4.1.22": 16, "2.16.840.1.101.3.4.1.42": 16,
		"1.2.840.113549.3.7": 8,
	}
	// pseudoRandom has the supported functions of PBKDF2: HMAC with SHA-1 and with SHA-256.
	pseudoRandom = map[string]bool{"1.2.840.113549.2.7": true, "1.2.840.113549.2.9": true}
)

// checkPKCS8 returns an error if an encrypted PKCS#8 key (RFC 5958, with PBES2 of RFC 8018) must
// not be decrypted. The library that decrypts it does not limit the cost, and panics on some
// lengths.
func checkPKCS8(der []byte) error {
	damaged := errors.New("the private key in it is damaged")
	var outer struct {
		Algorithm pkix.AlgorithmIdentifier
		Data      []byte
	}
	if _, err := asn1.Unmarshal(der, &outer); err != nil {
		return damaged
	}
	if !outer.Algorithm.Algorithm.Equal(oidPBES2) {
		return errors.New("its encryption scheme is not supported (only PBES2 is)")
	}
	var scheme struct{ KDF, Cipher pkix.AlgorithmIdentifier }
	if _, err := asn1.Unmarshal(outer.Algorithm.Parameters.FullBytes, &scheme); err != nil {
		return damaged
	}
	size := blockSizes[scheme.Cipher.Algorithm.String()]
	if size == 0 {
		return fmt.Errorf("its cipher is not supported (%s)", scheme.Cipher.Algorithm)
	}
	var iv []byte
	if _, err := asn1.Unmarshal(scheme.Cipher.Parameters.FullBytes, &iv); err != nil || len(iv) != size || len(outer.Data) == 0 || len(outer.Data)%size != 0 {
		return damaged
	}
	switch {
	case scheme.KDF.Algorithm.Equal(oidPBKDF2):
		return checkPBKDF2(scheme.KDF.Parameters.FullBytes)
	case scheme.KDF.Algorithm.Equal(oidScrypt):
		return checkScrypt(scheme.KDF.Parameters.FullBytes)
	}
	return fmt.Errorf("its key derivation function is not supported (%s)", scheme.KDF.Algorithm)
}

func checkPBKDF2(der []byte) error {
	var p struct {
		Salt       []byte
		Iterations int
		Length     int                      `asn1:"optional"`
		Function   pkix.AlgorithmIdentifier `asn1:"optional"`
	}
	if _, err := asn1.Unmarshal(der, &p); err != nil || p.Iterations < 1 {
		return errors.New("the private key in it is damaged")
	}
	switch {
	case p.Iterations > maxIterations:
		return fmt.Errorf("decrypting it takes %d iterations, more than %d", p.Iterations, maxIterations)
	case p.Length != 0 || len(p.Function.Algorithm) > 0 && !pseudoRandom[p.Function.Algorithm.String()]:
		return errors.New("its key derivation function is not supported")
	}
	return nil
}

func checkScrypt(der []byte) error {
	var p struct {
		Salt           []byte
		N, Block, Lane int
	}
	if _, err := asn1.Unmarshal(der, &p); err != nil || p.N < 2 || p.Block < 1 || p.Lane < 1 {
		return errors.New("the private key in it is damaged")
	}
	if p.N > maxScryptMemory/128 || p.Block > maxScryptMemory/128/p.N || p.Lane > maxScryptLanes {
		return fmt.Errorf("decrypting it takes more than %d MiB of memory, or too much time", maxScryptMemory>>20)
	}
	return nil
}
