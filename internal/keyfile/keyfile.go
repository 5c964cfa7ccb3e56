// Package keyfile reads key and certificate files and decrypts private keys. A [Ring] reads and
// decrypts each once for all hosts.
package keyfile

import (
	"bytes"
	"crypto/x509"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/youmark/pkcs8"
	"golang.org/x/crypto/ssh"

	"fleetssh/internal/algorithms"
	"fleetssh/internal/shellquote"
)

const (
	// maxBlocks limits how many PEM blocks are read. A chain of certificates may precede a key.
	maxBlocks = 64
	// maxBcryptRounds limits the rounds of bcrypt. So many take about a minute; ssh-keygen uses
	// 16 or 24.
	maxBcryptRounds = 4096
)

// File is the content of a key or certificate file. More than one field may be set: if the private
// half cannot be used, the public half still identifies the key, and the agent may have it.
type File struct {
	Signer ssh.Signer       // the private half, if it is not encrypted
	Locked *pem.Block       // the private half, if it is encrypted
	Public ssh.PublicKey    // the public half, if it can be read without a passphrase
	Cert   *ssh.Certificate // the certificate, if the file is one; Public is its key
	Err    error            // why neither Signer nor Locked is set, also for a missing file
}

// Parse parses a key file. data may be anything. path is used in messages and may be empty.
func Parse(path string, data []byte) File {
	text := bytes.TrimSpace(data)
	switch {
	case len(text) == 0:
		return File{Err: errors.New("the file is empty")}
	case bytes.HasPrefix(text, []byte("PuTTY-User-Key-File-")):
		return File{Err: fmt.Errorf("it is a key of PuTTY (puttygen %s -O private-openssh -o NEW converts it)", quotedPath(path))}
	case bytes.HasPrefix(text, []byte("SSH PRIVATE KEY FILE FORMAT 1.1")):
		return File{Err: errors.New("it is a key of SSH 1, which is not supported")}
	case bytes.HasPrefix(text, []byte("---- BEGIN SSH2 PUBLIC KEY ----")):
		return File{Err: errors.New("it is a public key, not a private one")}
	case bytes.Contains(text, []byte("-----BEGIN ")):
		return parsePEM(path, data)
	}
	public, _, _, _, err := ssh.ParseAuthorizedKey(data)
	if err != nil {
		return File{Err: errors.New("no key found in it")}
	}
	if cert, ok := public.(*ssh.Certificate); ok {
		return File{Cert: cert, Public: cert.Key, Err: errors.New("it is a certificate, not a private key")}
	}
	return File{Public: public, Err: errPublicHalf}
}

// errPublicHalf is the error for a file with a public key only.
var errPublicHalf = errors.New("it is the public half of a key, not the private one")

// parsePEM parses the first private key among the PEM blocks of a file. OpenSSL writes an
// "EC PARAMETERS" block before the key, and other programs write certificates.
func parsePEM(path string, data []byte) File {
	err := errors.New("no key found in it")
	for range maxBlocks {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			break
		}
		switch block.Type {
		case "OPENSSH PRIVATE KEY":
			return parseOpenSSH(path, block)
		case "ENCRYPTED PRIVATE KEY":
			if err := checkPKCS8(block.Bytes); err != nil {
				return File{Err: fmt.Errorf("%w (ssh-keygen -p -f %s converts it)", err, quotedPath(path))}
			}
			return File{Locked: block}
		case "DSA PRIVATE KEY":
			return File{Err: algorithms.ErrDSA}
		case "RSA PRIVATE KEY", "EC PRIVATE KEY", "PRIVATE KEY":
			if strings.Contains(block.Headers["Proc-Type"], "ENCRYPTED") {
				return File{Locked: block}
			}
			return openKey(block)
		case "PUBLIC KEY", "RSA PUBLIC KEY":
			err = errPublicHalf
		case "CERTIFICATE":
			err = errors.New("it holds an X.509 certificate and no private key")
		}
	}
	return File{Err: err}
}

// openKey reads a private key that is not encrypted.
func openKey(block *pem.Block) File {
	signer, err := ssh.ParsePrivateKey(pem.EncodeToMemory(block))
	if err != nil {
		return File{Err: err}
	}
	if signer, err = restrictRSA(signer); err != nil {
		return File{Err: err}
	}
	return File{Signer: signer, Public: signer.PublicKey()}
}

// parseOpenSSH parses a key in the format of OpenSSH (PROTOCOL.key). The public half and the
// encryption parameters come before the private half, so they can be read even if that cannot be
// used.
func parseOpenSSH(path string, block *pem.Block) File {
	var head struct {
		Cipher, KDF string
		Options     []byte
		Keys        uint32
		Public      []byte
		Private     []byte
		Rest        []byte `ssh:"rest"`
	}
	raw, ok := bytes.CutPrefix(block.Bytes, []byte("openssh-key-v1\x00"))
	if !ok || ssh.Unmarshal(raw, &head) != nil || head.Keys != 1 {
		return File{Err: errors.New("the private key in it is damaged")}
	}
	f := File{Locked: block}
	kind := ""
	if n := len(head.Public); n >= 4 && int64(binary.BigEndian.Uint32(head.Public)) <= int64(n-4) {
		kind = string(head.Public[4 : 4+binary.BigEndian.Uint32(head.Public)])
	}
	if public, err := ssh.ParsePublicKey(head.Public); err == nil {
		f.Public = public
	}
	switch {
	case strings.HasPrefix(kind, "sk-"):
		f.Err = fmt.Errorf("its private half is on a FIDO token (ssh-add %s adds it to the SSH agent)", quotedPath(path))
	case kind == ssh.InsecureKeyAlgoDSA:
		f.Err, f.Public = algorithms.ErrDSA, nil
	case f.Public == nil:
		f.Err = fmt.Errorf("keys of the type %.40q are not supported", kind)
	case head.Cipher == "none":
		open := openKey(block)
		f.Signer, f.Err, f.Locked = open.Signer, open.Err, nil
	case head.KDF != "bcrypt" || head.Cipher != "aes256-ctr" && head.Cipher != "aes256-cbc":
		f.Err = fmt.Errorf("it is encrypted with %.40q, which is not supported (ssh-keygen -p -Z aes256-ctr -f %s converts it)",
			head.Cipher, quotedPath(path))
	default:
		var kdf struct {
			Salt   []byte
			Rounds uint32
		}
		if ssh.Unmarshal(head.Options, &kdf) != nil {
			f.Err = errors.New("the private key in it is damaged")
		} else if kdf.Rounds > maxBcryptRounds {
			f.Err = fmt.Errorf("decrypting it takes %d rounds of bcrypt, more than %d", kdf.Rounds, maxBcryptRounds)
		}
	}
	if f.Err != nil {
		f.Locked = nil
	}
	return f
}

// ErrWrongPassphrase means that a passphrase does not decrypt a key.
var ErrWrongPassphrase = errors.New("wrong passphrase")

// Unlock decrypts a private key. The passphrase must not be empty.
func Unlock(block *pem.Block, passphrase string) (ssh.Signer, error) {
	if block.Type == "ENCRYPTED PRIVATE KEY" {
		key, _, err := pkcs8.ParsePrivateKey(block.Bytes, []byte(passphrase))
		if err != nil {
			return nil, ErrWrongPassphrase // checkPKCS8 has excluded other errors
		}
		signer, err := ssh.NewSignerFromKey(key)
		if err != nil {
			return nil, err
		}
		return restrictRSA(signer)
	}
	signer, err := ssh.ParsePrivateKeyWithPassphrase(pem.EncodeToMemory(block), []byte(passphrase))
	if errors.Is(err, x509.IncorrectPasswordError) {
		return nil, ErrWrongPassphrase
	}
	if err != nil {
		return nil, err
	}
	return restrictRSA(signer)
}

// Encrypted means that a key is encrypted and there is no passphrase. Public is the public half, or
// nil if it is not known.
type Encrypted struct{ Public ssh.PublicKey }

// Error implements [error].
func (Encrypted) Error() string { return "the key is encrypted and no passphrase is given" }

// Unwrap returns the error of the SSH library for such a key.
func (e Encrypted) Unwrap() error { return &ssh.PassphraseMissingError{PublicKey: e.Public} }

// quotedPath returns a path quoted for a shell, or "KEY" for a key in memory.
func quotedPath(path string) string {
	if path == "" {
		return "KEY"
	}
	return shellquote.Quote(path)
}

// restrictRSA returns a signer that, for an RSA key, signs only with SHA-2.
func restrictRSA(signer ssh.Signer) (ssh.Signer, error) {
	names := algorithms.Signing(signer.PublicKey())
	as, ok := signer.(ssh.AlgorithmSigner)
	if !ok || len(names) < 2 {
		return signer, nil
	}
	return ssh.NewSignerWithAlgorithms(as, names)
}

// Missing reports whether err means that a file does not exist.
func Missing(err error) bool { return errors.Is(err, os.ErrNotExist) }
