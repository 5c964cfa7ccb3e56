package knownhosts_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"fleetssh/internal/knownhosts"
)

// keys are generated once: an RSA key takes a second with the race detector. In the text of a
// known_hosts file, a name in braces stands for a key.
var keys = sync.OnceValue(func() map[string]ssh.Signer {
	made := make(map[string]ssh.Signer)
	add := func(name string, key crypto.Signer, err error) {
		if err != nil {
			panic(err)
		}
		if made[name], err = ssh.NewSignerFromSigner(key); err != nil {
			panic(err)
		}
	}
	for _, name := range []string{"ed", "ed2", "ca", "ca2"} {
		// The same in all processes, because fuzzing has several.
		seed := sha256.Sum256([]byte(name))
		add(name, ed25519.NewKeyFromSeed(seed[:]), nil)
	}
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	add("ec", ec, err)
	for _, name := range []string{"rsa", "rsaca"} {
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		add(name, key, err)
	}
	return made
})

func key(name string) ssh.PublicKey { return keys()[name].PublicKey() }

func keyText(key ssh.PublicKey) string {
	return key.Type() + " " + base64.StdEncoding.EncodeToString(key.Marshal())
}

// fill replaces names in braces with their keys.
func fill(text string) string {
	for name := range keys() {
		text = strings.ReplaceAll(text, "{"+name+"}", keyText(key(name)))
	}
	return text
}

func read(t testing.TB, text string) *knownhosts.DB {
	t.Helper()
	db := new(knownhosts.DB)
	if err := db.Read(strings.NewReader(fill(text)), "known_hosts"); err != nil {
		t.Fatal(err)
	}
	return db
}

// certify returns a certificate for host web, changed by the options.
func certify(t testing.TB, name, ca string, options ...func(*ssh.Certificate)) *ssh.Certificate {
	t.Helper()
	cert := &ssh.Certificate{
		Key:             key(name),
		CertType:        ssh.HostCert,
		ValidPrincipals: []string{"web"},
		ValidBefore:     ssh.CertTimeInfinity,
	}
	for _, change := range options {
		change(cert)
	}
	if err := cert.SignCert(rand.Reader, keys()[ca]); err != nil {
		t.Fatal(err)
	}
	return cert
}

func principals(names ...string) func(*ssh.Certificate) {
	return func(c *ssh.Certificate) { c.ValidPrincipals = names }
}

func expired(c *ssh.Certificate) { c.ValidBefore = uint64(time.Now().Add(-time.Hour).Unix()) }

func early(c *ssh.Certificate) { c.ValidAfter = uint64(time.Now().Add(time.Hour).Unix()) }

func forUsers(c *ssh.Certificate) { c.CertType = ssh.UserCert }

func critical(c *ssh.Certificate) { c.CriticalOptions = map[string]string{"foo": "bar"} }

var plainName = regexp.MustCompile(`^[\w.:]+$|^\[[\w.:]+\]:\d+$`)

// hash replaces the hosts of all lines that have one plain name.
func hash(file string) string {
	var hashed strings.Builder
	for row := range strings.Lines(file) {
		fields := strings.Split(row, " ")
		i := 0
		if (fields[0] == "@cert-authority" || fields[0] == "@revoked") && len(fields) > 1 {
			i = 1
		}
		if plainName.MatchString(fields[i]) {
			salt := make([]byte, sha1.Size)
			rand.Read(salt)
			mac := hmac.New(sha1.New, salt)
			mac.Write([]byte(strings.ToLower(fields[i])))
			encode := base64.StdEncoding.EncodeToString
			fields[i] = "|1|" + encode(salt) + "|" + encode(mac.Sum(nil))
		}
		hashed.WriteString(strings.Join(fields, " "))
	}
	return hashed.String()
}

func keysNamed(names ...string) []ssh.PublicKey {
	list := make([]ssh.PublicKey, len(names))
	for i, name := range names {
		list[i] = key(name)
	}
	return list
}
