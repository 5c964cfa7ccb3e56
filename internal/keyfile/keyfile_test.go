package keyfile_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/pem"
	"errors"
	"strings"
	"testing"

	"github.com/youmark/pkcs8"
	"golang.org/x/crypto/ssh"

	"fleetssh/internal/fleettest"
	"fleetssh/internal/keyfile"
)

// pemOf returns a PEM block of a type.
func pemOf(kind string, data []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: data})
}

// openSSHKey returns a key file in OpenSSH's format with the given header.
func openSSHKey(cipher, kdf string, rounds uint32, public []byte) []byte {
	options := ssh.Marshal(struct {
		Salt   []byte
		Rounds uint32
	}{make([]byte, 16), rounds})
	if kdf == "none" {
		options = nil
	}
	return pemOf("OPENSSH PRIVATE KEY", append([]byte("openssh-key-v1\x00"), ssh.Marshal(struct {
		Cipher, KDF     string
		Options         []byte
		Keys            uint32
		Public, Private []byte
	}{cipher, kdf, options, 1, public, make([]byte, 256)})...))
}

func typedBlob(kind string) []byte {
	return ssh.Marshal(struct {
		Type string
		Rest []byte `ssh:"rest"`
	}{kind, make([]byte, 40)})
}

// encryptedPKCS8 returns a key file as OpenSSL writes it.
func encryptedPKCS8(t testing.TB, key any, cipher pkcs8.Cipher, kdf pkcs8.KDFOpts) []byte {
	t.Helper()
	der, err := pkcs8.MarshalPrivateKey(key, []byte("open sesame"), &pkcs8.Opts{Cipher: cipher, KDFOpts: kdf})
	if err != nil {
		t.Fatal(err)
	}
	return pemOf("ENCRYPTED PRIVATE KEY", der)
}

// TestKeyFileUnusable checks the errors and hints for files without a usable key.
func TestKeyFileUnusable(t *testing.T) {
	t.Parallel()
	public := fleettest.NewKey().PublicKey()
	blob := public.Marshal()
	pbkdf2 := func(iterations int, size int) costly {
		return costly{pkcs8.PBKDF2Opts{}, pbkdf2Params{make([]byte, 8), iterations, size}}
	}
	for _, test := range []struct {
		name string
		data []byte
		want string
		key  bool // the public half is known
	}{
		{"empty", nil, "empty", false},
		{"blank", []byte(" \n\t"), "empty", false},
		{"text", []byte("hello\n"), "no key found", false},
		{"PuTTY", []byte("PuTTY-User-Key-File-3: ssh-ed25519\n"), "puttygen 'a b' -O private-openssh", false},
		{"SSH 1", []byte("SSH PRIVATE KEY FILE FORMAT 1.1\n\x00"), "SSH 1", false},
		{"public half", ssh.MarshalAuthorizedKey(public), "public half", true},
		{"public half of RFC 4716", []byte("---- BEGIN SSH2 PUBLIC KEY ----\n"), "public key", false},
		{"public half of PKIX", pemOf("PUBLIC KEY", []byte("x")), "public half", false},
		{"X.509", pemOf("CERTIFICATE", []byte("x")), "X.509 certificate", false},
		{"parameters only", pemOf("EC PARAMETERS", []byte("x")), "no key found", false},
		{"DSA", pemOf("DSA PRIVATE KEY", []byte("x")), "DSA", false},
		{"DSA of OpenSSH", openSSHKey("none", "none", 0, typedBlob("ssh-dss")), "DSA", false},
		{"FIDO", openSSHKey("none", "none", 0, typedBlob("sk-ssh-ed25519@openssh.com")), "ssh-add 'a b'", false},
		{"unknown kind", openSSHKey("none", "none", 0, typedBlob("ssh-ed448")), `"ssh-ed448" are not supported`, false},
		{"damaged", pemOf("OPENSSH PRIVATE KEY", []byte("openssh-key-v1\x00x")), "damaged", false},
		{"damaged options", openSSHKey("aes256-ctr", "none", 0, blob), "ssh-keygen -p -Z aes256-ctr -f 'a b'", true},
		{"unsupported cipher", openSSHKey("aes256-gcm@openssh.com", "bcrypt", 16, blob), "ssh-keygen -p -Z aes256-ctr -f 'a b'", true},
		{"too many rounds", openSSHKey("aes256-ctr", "bcrypt", 1<<30, blob), "rounds of bcrypt", true},
		{"damaged PKCS#8", pemOf("ENCRYPTED PRIVATE KEY", []byte("x")), "damaged", false},
		{"too many iterations", encryptedPKCS8(t, rsaKey(), pkcs8.AES256CBC, pbkdf2(1<<30, 0)), "1073741824 iterations", false},
		{"no iterations", encryptedPKCS8(t, rsaKey(), pkcs8.AES256CBC, pbkdf2(0, 0)), "damaged", false},
		{"key length of PBKDF2", encryptedPKCS8(t, rsaKey(), pkcs8.AES256CBC, pbkdf2(1, 16)), "ssh-keygen -p -f 'a b'", false},
		{"too much memory", encryptedPKCS8(t, rsaKey(), pkcs8.AES256CBC, costly{pkcs8.ScryptOpts{}, scryptParams{make([]byte, 8), 1 << 22, 8, 1}}), "MiB of memory", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			key, open, locked, err := parse("a b", test.data)
			if err == nil || open || locked {
				t.Fatalf("open %v, locked %v, %v", open, locked, err)
			}
			fleettest.Contains(t, err.Error(), test.want)
			if (key != nil) != test.key {
				t.Errorf("the public half is %v", key)
			}
		})
	}
}

// costly writes the parameters of a key derivation without computing it.
type costly struct {
	pkcs8.KDFOpts
	params pkcs8.KDFParameters
}

func (c costly) DeriveKey(_, _ []byte, size int) ([]byte, pkcs8.KDFParameters, error) {
	return make([]byte, size), c.params, nil
}

type scryptParams struct {
	Salt                                               []byte
	CostParameter, BlockSize, ParallelizationParameter int
}

func (scryptParams) DeriveKey([]byte, int) ([]byte, error) { return nil, errors.New("not implemented") }

type pbkdf2Params struct {
	Salt       []byte
	Iterations int
	Length     int `asn1:"optional"`
}

func (pbkdf2Params) DeriveKey([]byte, int) ([]byte, error) { return nil, errors.New("not implemented") }

func rsaKey() crypto.Signer {
	key, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		panic(err)
	}
	return key
}

// TestKeyFilePKCS8 decrypts keys with all options of current OpenSSL.
func TestKeyFilePKCS8(t *testing.T) {
	t.Parallel()
	_, edKey, _ := ed25519.GenerateKey(rand.Reader)
	ecKey, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	keys := map[string]crypto.Signer{"ed25519": edKey, "ecdsa": ecKey, "rsa": rsaKey()}
	kdfs := map[string]pkcs8.KDFOpts{
		"SHA-1":   pkcs8.PBKDF2Opts{SaltSize: 8, IterationCount: 2048, HMACHash: crypto.SHA1},
		"SHA-256": pkcs8.PBKDF2Opts{SaltSize: 16, IterationCount: 2048, HMACHash: crypto.SHA256},
		"scrypt":  pkcs8.ScryptOpts{SaltSize: 8, CostParameter: 1024, BlockSize: 8, ParallelizationParameter: 1},
	}
	ciphers := map[string]pkcs8.Cipher{"AES-128": pkcs8.AES128CBC, "AES-192": pkcs8.AES192CBC, "AES-256": pkcs8.AES256CBC, "3DES": pkcs8.TripleDESCBC}
	for keyName, key := range keys {
		want, err := ssh.NewPublicKey(key.Public())
		if err != nil {
			t.Fatal(err)
		}
		for kdfName, kdf := range kdfs {
			for cipherName, cipher := range ciphers {
				t.Run(keyName+" "+kdfName+" "+cipherName, func(t *testing.T) {
					data := encryptedPKCS8(t, key, cipher, kdf)
					if _, _, locked, err := parse("", data); err != nil || !locked {
						t.Fatal(locked, err)
					}
					signer, err := unlock(data, "open sesame")
					if err != nil {
						t.Fatal(err)
					}
					fleettest.Equal(t, "key", ssh.FingerprintSHA256(signer.PublicKey()), ssh.FingerprintSHA256(want))
					if _, err := unlock(data, "wrong"); err == nil || err.Error() != "wrong passphrase" {
						t.Errorf("with another passphrase: %v", err)
					}
				})
			}
		}
	}
}

// TestKeyFileAmongOthers checks that other PEM blocks before and after the key are skipped.
func TestKeyFileAmongOthers(t *testing.T) {
	t.Parallel()
	block, err := ssh.MarshalPrivateKey(rsaKey(), "")
	if err != nil {
		t.Fatal(err)
	}
	key, junk := pem.EncodeToMemory(block), pemOf("CERTIFICATE", []byte("x"))
	for _, data := range [][]byte{
		append(pemOf("EC PARAMETERS", []byte("x")), key...),
		append(bytes.Repeat(junk, 20), append(key, junk...)...),
		append([]byte("Bag Attributes\n  friendlyName: x\n"), key...),
	} {
		if public, open, _, err := parse("", data); err != nil || !open || public == nil {
			t.Errorf("open %v, %v", open, err)
		}
	}
	if _, open, _, _ := parse("", append(bytes.Repeat(junk, 1000), key...)); open {
		t.Error("there is no limit for other blocks")
	}
}

// FuzzKeyFile parses any file. It must not panic or take long.
func FuzzKeyFile(f *testing.F) {
	for _, seed := range [][]byte{
		ssh.MarshalAuthorizedKey(fleettest.NewKey().PublicKey()),
		openSSHKey("aes256-ctr", "bcrypt", 1, fleettest.NewKey().PublicKey().Marshal()),
		encryptedPKCS8(f, rsaKey(), pkcs8.AES256CBC, pkcs8.PBKDF2Opts{SaltSize: 8, IterationCount: 1, HMACHash: crypto.SHA256}),
		encryptedPKCS8(f, rsaKey(), pkcs8.TripleDESCBC, pkcs8.ScryptOpts{SaltSize: 8, CostParameter: 2, BlockSize: 1, ParallelizationParameter: 1}),
	} {
		kind, body := "", seed
		if block, _ := pem.Decode(seed); block != nil {
			kind, body = block.Type, block.Bytes
		}
		f.Add(kind, body)
	}
	f.Fuzz(func(t *testing.T, kind string, body []byte) {
		data := body
		if kind != "" && !strings.ContainsAny(kind, "\r\n:-") {
			data = pemOf(kind, body)
		}
		_, open, locked, err := parse("path", data)
		if states := map[bool]int{true: 1}; states[open]+states[locked]+states[err != nil] != 1 {
			t.Fatalf("open %v, locked %v, %v", open, locked, err)
		}
		// Decrypt the key if its number of iterations has few bytes.
		if locked && kind == "ENCRYPTED PRIVATE KEY" && !bytes.Contains(body, []byte{2, 2}) && !bytes.Contains(body, []byte{2, 3}) {
			if signer, err := unlock(data, "x"); (signer == nil) == (err == nil) {
				t.Fatalf("%v, %v", signer, err)
			}
		}
	})
}

// parse returns the public half of a key file, and whether its private half is open or encrypted.
func parse(path string, data []byte) (public ssh.PublicKey, open, locked bool, err error) {
	f := keyfile.Parse(path, data)
	return f.Public, f.Signer != nil, f.Locked != nil, f.Err
}

// unlock decrypts a key file.
func unlock(data []byte, passphrase string) (ssh.Signer, error) {
	return keyfile.Unlock(keyfile.Parse("", data).Locked, passphrase)
}
