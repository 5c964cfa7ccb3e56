package sshdtest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

// The kinds of keys, as ssh-keygen -t names them.
const (
	KindED25519 = "ed25519"
	KindECDSA   = "ecdsa"
	KindRSA     = "rsa"
)

// Kinds are all kinds of keys.
var Kinds = []string{KindED25519, KindECDSA, KindRSA}

// Key is a private key.
type Key struct {
	Private crypto.Signer
	Signer  ssh.Signer
}

// NewKey makes a key.
func NewKey(t testing.TB, kind string) *Key {
	t.Helper()
	key, err := newKey(kind)
	must(t, err)
	return key
}

func newKey(kind string) (*Key, error) {
	var private crypto.Signer
	var err error
	switch kind {
	case KindED25519:
		_, private, err = ed25519.GenerateKey(rand.Reader)
	case KindECDSA:
		private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case KindRSA:
		private, err = rsa.GenerateKey(rand.Reader, 2048)
	default:
		return nil, fmt.Errorf("unknown kind of key %q", kind)
	}
	if err != nil {
		return nil, err
	}
	signer, err := ssh.NewSignerFromKey(private)
	return &Key{Private: private, Signer: signer}, err
}

// hostKeys are the host keys that all servers of the process share, made when first needed.
var hostKeys = map[string]func() (*Key, error){
	KindED25519: sync.OnceValues(func() (*Key, error) { return newKey(KindED25519) }),
	KindECDSA:   sync.OnceValues(func() (*Key, error) { return newKey(KindECDSA) }),
	KindRSA:     sync.OnceValues(func() (*Key, error) { return newKey(KindRSA) }),
}

func hostKey(t testing.TB, kind string) *Key {
	t.Helper()
	key, err := hostKeys[kind]()
	must(t, err)
	return key
}

// Public returns the public half.
func (k *Key) Public() ssh.PublicKey { return k.Signer.PublicKey() }

// PEM returns the key in OpenSSH's format, encrypted if there is a passphrase.
func (k *Key) PEM(t testing.TB, passphrase string) []byte {
	t.Helper()
	var block *pem.Block
	var err error
	if passphrase == "" {
		block, err = ssh.MarshalPrivateKey(k.Private, "test")
	} else {
		block, err = ssh.MarshalPrivateKeyWithPassphrase(k.Private, "test", []byte(passphrase))
	}
	must(t, err)
	return pem.EncodeToMemory(block)
}

// Write writes the key to path and its public half to path.pub.
func (k *Key) Write(t testing.TB, path, passphrase string) {
	t.Helper()
	must(t, os.WriteFile(path, k.PEM(t, passphrase), 0o600))
	must(t, os.WriteFile(path+".pub", ssh.MarshalAuthorizedKey(k.Public()), 0o644))
}

// Keygen makes a key with ssh-keygen and returns the path of its file. options are further
// arguments of ssh-keygen.
func Keygen(t testing.TB, kind, passphrase string, options ...string) (path string, public ssh.PublicKey) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "id_"+kind)
	args := append([]string{"-q", "-t", kind, "-N", passphrase, "-C", "test", "-f", path}, options...)
	out, err := exec.Command(Program(t, "ssh-keygen"), args...).CombinedOutput()
	if err != nil {
		t.Fatalf("ssh-keygen: %v: %s", err, out)
	}
	data, err := os.ReadFile(path + ".pub")
	must(t, err)
	public, _, _, _, err = ssh.ParseAuthorizedKey(data)
	must(t, err)
	return path, public
}

// CA is a certificate authority.
type CA struct{ *Key }

// NewCA makes a certificate authority.
func NewCA(t testing.TB) *CA {
	t.Helper()
	return &CA{NewKey(t, KindED25519)}
}

// Validity is when a certificate is valid. Zero fields mean one hour before and one hour after now.
type Validity struct{ After, Before time.Time }

// SignUser returns a certificate for a user's key.
func (ca *CA) SignUser(t testing.TB, key ssh.PublicKey, v Validity, principals ...string) *ssh.Certificate {
	t.Helper()
	return ca.sign(t, key, ssh.UserCert, v, principals)
}

// SignHost returns a certificate for a host's key.
func (ca *CA) SignHost(t testing.TB, key ssh.PublicKey, principals ...string) *ssh.Certificate {
	t.Helper()
	return ca.sign(t, key, ssh.HostCert, Validity{}, principals)
}

func (ca *CA) sign(t testing.TB, key ssh.PublicKey, kind uint32, v Validity, principals []string) *ssh.Certificate {
	t.Helper()
	if v.After.IsZero() {
		v.After = time.Now().Add(-time.Hour)
	}
	if v.Before.IsZero() {
		v.Before = time.Now().Add(time.Hour)
	}
	cert := &ssh.Certificate{
		Key: key, CertType: kind, KeyId: "test", ValidPrincipals: principals,
		ValidAfter: uint64(v.After.Unix()), ValidBefore: uint64(v.Before.Unix()),
	}
	if kind == ssh.UserCert {
		cert.Permissions.Extensions = map[string]string{"permit-pty": "", "permit-agent-forwarding": "", "permit-port-forwarding": ""}
	}
	must(t, cert.SignCert(rand.Reader, ca.Signer))
	return cert
}

// WriteCertificate writes a certificate in the format of ssh-keygen.
func WriteCertificate(t testing.TB, path string, cert *ssh.Certificate) {
	t.Helper()
	must(t, os.WriteFile(path, ssh.MarshalAuthorizedKey(cert), 0o644))
}
