package fleetssh

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
	// maxBlocks bounds how many PEM blocks are looked at: a chain of
	// certificates may stand in front of a key.
	maxBlocks = 64
	// maxRounds of bcrypt take about a minute; ssh-keygen makes 16 or 24.
	maxBcryptRounds = 4096
)

// keyFile is what a file turns out to hold that is said to hold a key. More than one
// field may be set: a file whose private half is of no use here may still say which
// key it is, and the agent may have that.
type keyFile struct {
	signer ssh.Signer       // the private half, if it is not encrypted
	locked *pem.Block       // the private half, if it is
	public ssh.PublicKey    // the public half, if it can be read without a passphrase
	cert   *ssh.Certificate // the file is a certificate; public is its key
	err    error            // why there is neither signer nor locked; also set if there is no file
}

// parseKeyFile reads the bytes of a key file. path is for messages, and may be empty.
// Nothing in it is trusted: it may be any file.
func parseKeyFile(path string, data []byte) keyFile {
	text := bytes.TrimSpace(data)
	switch {
	case len(text) == 0:
		return keyFile{err: errors.New("the file is empty")}
	case bytes.HasPrefix(text, []byte("PuTTY-User-Key-File-")):
		return keyFile{err: fmt.Errorf("it is a key of PuTTY (puttygen %s -O private-openssh -o NEW converts it)", quotedPath(path))}
	case bytes.HasPrefix(text, []byte("SSH PRIVATE KEY FILE FORMAT 1.1")):
		return keyFile{err: errors.New("it is a key of SSH 1, which is not supported")}
	case bytes.HasPrefix(text, []byte("---- BEGIN SSH2 PUBLIC KEY ----")):
		return keyFile{err: errors.New("it is a public key, not a private one")}
	case bytes.Contains(text, []byte("-----BEGIN ")):
		return parsePEM(path, data)
	}
	public, _, _, _, err := ssh.ParseAuthorizedKey(data)
	if err != nil {
		return keyFile{err: errors.New("no key found in it")}
	}
	if cert, ok := public.(*ssh.Certificate); ok {
		return keyFile{cert: cert, public: cert.Key, err: errors.New("it is a certificate, not a private key")}
	}
	return keyFile{public: public, err: errPublicHalf}
}

var errPublicHalf = errors.New("it is the public half of a key, not the private one")

// parsePEM reads the first private key among the blocks of a file. OpenSSL writes
// "EC PARAMETERS" in front of one, and other programs certificates.
func parsePEM(path string, data []byte) keyFile {
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
				return keyFile{err: fmt.Errorf("%w (ssh-keygen -p -f %s converts it)", err, quotedPath(path))}
			}
			return keyFile{locked: block}
		case "DSA PRIVATE KEY":
			return keyFile{err: algorithms.ErrDSA}
		case "RSA PRIVATE KEY", "EC PRIVATE KEY", "PRIVATE KEY":
			if strings.Contains(block.Headers["Proc-Type"], "ENCRYPTED") {
				return keyFile{locked: block}
			}
			return openKey(block)
		case "PUBLIC KEY", "RSA PUBLIC KEY":
			err = errPublicHalf
		case "CERTIFICATE":
			err = errors.New("it holds an X.509 certificate and no private key")
		}
	}
	return keyFile{err: err}
}

// openKey reads a private key that is not encrypted.
func openKey(block *pem.Block) keyFile {
	signer, err := ssh.ParsePrivateKey(pem.EncodeToMemory(block))
	if err != nil {
		return keyFile{err: err}
	}
	if signer, err = restrictRSA(signer); err != nil {
		return keyFile{err: err}
	}
	return keyFile{signer: signer, public: signer.PublicKey()}
}

// parseOpenSSH reads a key in the format of OpenSSH (PROTOCOL.key). Its public half
// and the way in which it is encrypted stand in front of the private half, where
// they can be read even if that is of no use.
func parseOpenSSH(path string, block *pem.Block) keyFile {
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
		return keyFile{err: errors.New("the private key in it is damaged")}
	}
	f := keyFile{locked: block}
	kind := ""
	if n := len(head.Public); n >= 4 && int64(binary.BigEndian.Uint32(head.Public)) <= int64(n-4) {
		kind = string(head.Public[4 : 4+binary.BigEndian.Uint32(head.Public)])
	}
	if public, err := ssh.ParsePublicKey(head.Public); err == nil {
		f.public = public
	}
	switch {
	case strings.HasPrefix(kind, "sk-"):
		f.err = fmt.Errorf("its private half is in hardware (FIDO; ssh-add %s lets the SSH agent use it)", quotedPath(path))
	case kind == ssh.InsecureKeyAlgoDSA:
		f.err, f.public = algorithms.ErrDSA, nil
	case f.public == nil:
		f.err = fmt.Errorf("keys of the type %.40q are not supported", kind)
	case head.Cipher == "none":
		open := openKey(block)
		f.signer, f.err, f.locked = open.signer, open.err, nil
	case head.KDF != "bcrypt" || head.Cipher != "aes256-ctr" && head.Cipher != "aes256-cbc":
		f.err = fmt.Errorf("it is encrypted with %.40q, which cannot be read here (ssh-keygen -p -Z aes256-ctr -f %s converts it)",
			head.Cipher, quotedPath(path))
	default:
		var kdf struct {
			Salt   []byte
			Rounds uint32
		}
		if ssh.Unmarshal(head.Options, &kdf) != nil {
			f.err = errors.New("the private key in it is damaged")
		} else if kdf.Rounds > maxBcryptRounds {
			f.err = fmt.Errorf("its passphrase takes %d rounds of bcrypt, more than %d", kdf.Rounds, maxBcryptRounds)
		}
	}
	if f.err != nil {
		f.locked = nil
	}
	return f
}

// errWrongPassphrase says that a passphrase does not decrypt a key.
var errWrongPassphrase = errors.New("wrong passphrase")

// unlock decrypts a private key. The passphrase must not be empty.
func unlock(block *pem.Block, passphrase string) (ssh.Signer, error) {
	if block.Type == "ENCRYPTED PRIVATE KEY" {
		key, _, err := pkcs8.ParsePrivateKey(block.Bytes, []byte(passphrase))
		if err != nil {
			return nil, errWrongPassphrase // the rest has been checked before
		}
		signer, err := ssh.NewSignerFromKey(key)
		if err != nil {
			return nil, err
		}
		return restrictRSA(signer)
	}
	signer, err := ssh.ParsePrivateKeyWithPassphrase(pem.EncodeToMemory(block), []byte(passphrase))
	if errors.Is(err, x509.IncorrectPasswordError) {
		return nil, errWrongPassphrase
	}
	if err != nil {
		return nil, err
	}
	return restrictRSA(signer)
}

// errEncrypted means that a key needs a passphrase which nobody gave. The public
// half may be known all the same.
type errEncrypted struct{ public ssh.PublicKey }

// Error implements [error].
func (errEncrypted) Error() string { return "the key is encrypted and no passphrase is given" }

// Unwrap returns what the SSH library says of such keys.
func (e errEncrypted) Unwrap() error { return &ssh.PassphraseMissingError{PublicKey: e.public} }

// quotedPath returns a path as it is typed in a shell, or a word for a key that is
// in no file.
func quotedPath(path string) string {
	if path == "" {
		return "KEY"
	}
	return shellquote.Quote(path)
}

// parseCertificate reads a certificate for users.
func parseCertificate(raw []byte) (*ssh.Certificate, error) {
	key, _, _, _, err := ssh.ParseAuthorizedKey(raw)
	if err != nil {
		return nil, errors.New("not a certificate")
	}
	cert, ok := key.(*ssh.Certificate)
	if !ok {
		return nil, errors.New("a public key, not a certificate")
	}
	return cert, forUsers(cert)
}

func forUsers(cert *ssh.Certificate) error {
	if cert.CertType != ssh.UserCert {
		return errors.New("a host certificate, not one for users")
	}
	return nil
}

// missing reports whether an error says that there is no such file.
func missing(err error) bool { return errors.Is(err, os.ErrNotExist) }
