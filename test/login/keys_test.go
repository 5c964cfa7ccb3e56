package login

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/youmark/pkcs8"
	"golang.org/x/crypto/ssh"

	"fleetssh"
	"fleetssh/internal/fleettest"
	"fleetssh/internal/simfleet"
	"fleetssh/internal/sshdtest"
)

// encryptedPKCS8 writes a private key in PKCS #8, encrypted with "open sesame". This format has no
// readable public half, which is returned.
func encryptedPKCS8(t *testing.T) (path string, public ssh.PublicKey) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	public, err = ssh.NewPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(t.TempDir(), "pkcs8")
	der, err := pkcs8.MarshalPrivateKey(key, []byte("open sesame"), &pkcs8.Opts{
		Cipher: pkcs8.AES256CBC, KDFOpts: pkcs8.PBKDF2Opts{SaltSize: 8, IterationCount: 2048, HMACHash: crypto.SHA256},
	})
	if err != nil {
		t.Fatal(err)
	}
	data := pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: der})
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path, public
}

// The passphrase is asked for only after the host has accepted the key, or if the public half
// cannot be read without it. The error says how that ended.
func TestPassphraseIsAskedForLast(t *testing.T) {
	t.Parallel()
	known := filepath.Join("testdata", "id_ed25519_encrypted")
	hidden, hiddenPublic := encryptedPKCS8(t)
	knownPublic, _, _, _, err := ssh.ParseAuthorizedKey(readFile(t, known+".pub"))
	if err != nil {
		t.Fatal(err)
	}
	keyFile := func(path string) fleetssh.Auth { return fleetssh.Auth{KeyFile: path, NoAgent: true} }
	identities := func(paths ...string) fleetssh.Auth { return fleetssh.Auth{Identities: paths, NoAgent: true} }
	for _, test := range []struct {
		name    string
		auth    fleetssh.Auth
		accepts ssh.PublicKey
		answer  string
		asked   int32
		want    error // an error of the wanted type; nil: the login succeeds
	}{
		{"accepted", keyFile(known), knownPublic, "open sesame", 1, nil},
		{"refused", keyFile(known), nil, "open sesame", 0, new(fleetssh.AuthenticationError)},
		{"accepted, wrong passphrase", keyFile(known), knownPublic, "wrong", 1, new(fleetssh.PKeyFileError)},
		{"accepted, no passphrase", keyFile(known), knownPublic, "", 1, new(fleetssh.PKeyFileError)},
		{"identity accepted", identities(known), knownPublic, "open sesame", 1, nil},
		{"identity, wrong passphrase", identities(known), knownPublic, "wrong", 1, new(fleetssh.AuthenticationError)},
		{"hidden", keyFile(hidden), hiddenPublic, "open sesame", 1, nil},
		{"hidden and refused", keyFile(hidden), nil, "open sesame", 1, new(fleetssh.AuthenticationError)},
		{"hidden, wrong passphrase", keyFile(hidden), hiddenPublic, "wrong", 1, new(fleetssh.PKeyFileError)},
		{"hidden identity", identities(hidden), hiddenPublic, "open sesame", 1, nil},
		{"first identity accepted", identities(known, hidden), knownPublic, "open sesame", 1, nil},
		{"second identity accepted", identities(known, hidden), hiddenPublic, "open sesame", 1, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := fleettest.NewServer(t, func(h *simfleet.Host) {
				h.AuthorizedKeys = []ssh.PublicKey{fleettest.NewKey().PublicKey()}
				if test.accepts != nil {
					h.AuthorizedKeys = []ssh.PublicKey{test.accepts}
				}
			})
			host := s.Config()
			host.Auth = test.auth
			var asked atomic.Int32
			host.Auth.Ask = func(_ context.Context, q fleetssh.Question) (string, error) {
				if !strings.HasPrefix(q.Prompt, "Passphrase for key ") {
					return "", errors.New("unexpected question")
				}
				asked.Add(1)
				return test.answer, nil
			}
			c, err := fleetssh.Dial(t.Context(), host)
			if err == nil {
				c.Close()
			}
			switch test.want.(type) {
			case nil:
				if err != nil {
					t.Error(err)
				}
			case *fleetssh.AuthenticationError:
				e := fleettest.AsError[*fleetssh.AuthenticationError](t, err)
				if test.answer == "wrong" {
					fleettest.Contains(t, e.Error(), "wrong passphrase")
				} else if len(e.Keys) != 1 || !strings.HasPrefix(e.Keys[0], "key file ") || !strings.Contains(e.Keys[0], "SHA256:") {
					t.Errorf("the error names the keys %q", e.Keys)
				}
			case *fleetssh.PKeyFileError:
				fleettest.Equal(t, "path", fleettest.AsError[*fleetssh.PKeyFileError](t, err).Path, test.auth.KeyFile)
			}
			fleettest.Equal(t, "asked", asked.Load(), test.asked)
		})
	}
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// A password that does not decrypt a key is tried once, not once for each host, because a try can
// take a good part of a second.
func TestWrongPassphraseIsTriedOnce(t *testing.T) {
	t.Parallel()
	path, _ := sshdtest.Keygen(t, sshdtest.KindED25519, "right", "-a", "8")
	fail := func(hosts int, passphrase string) time.Duration {
		configs := make([]fleetssh.HostConfig, hosts)
		for i := range configs {
			configs[i] = fleetssh.HostConfig{Host: "192.0.2.1", Auth: fleetssh.Auth{KeyFile: path, Password: passphrase, NoAgent: true}}
		}
		p := fleettest.NewFleet(t, configs...)
		begun := time.Now()
		all := fleettest.AsError[*fleetssh.HostsError](t, p.Connect(t.Context()))
		fleettest.Equal(t, "failed", len(all.Failed), hosts)
		for _, f := range all.Failed {
			fleettest.Contains(t, fleettest.AsError[*fleetssh.PKeyFileError](t, f.Err).Error(), "wrong passphrase")
		}
		return time.Since(begun)
	}
	if one, all := fail(1, "wrong"), fail(500, "wrong too"); all > 100*one { // a busy machine slows both
		t.Errorf("one host took %v, 500 took %v", one, all)
	}
}

// A certificate file is read again after it was replaced.
func TestCertificateIsReadAgain(t *testing.T) {
	t.Parallel()
	signer := fleettest.ClientKey()
	ca := sshdtest.NewCA(t)
	path := filepath.Join(t.TempDir(), "certificate")
	sshdtest.WriteCertificate(t, path, ca.SignUser(t, signer.PublicKey(), sshdtest.Validity{Before: time.Now().Add(-time.Hour)}))
	s := fleettest.NewServer(t, nil)
	host := s.Config()
	host.Auth = fleetssh.Auth{Signers: []ssh.Signer{signer}, CertFile: path}
	p := fleettest.NewFleet(t, host)
	_, err := p.Client(t.Context(), 0)
	fleettest.Contains(t, fleettest.AsError[*fleetssh.PKeyFileError](t, err).Error(), "certificate expired")
	// Vault and other tools replace the file instead of overwriting it.
	sshdtest.WriteCertificate(t, path+".new", ca.SignUser(t, signer.PublicKey(), sshdtest.Validity{}))
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path, time.Time{}, time.Now().Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Client(t.Context(), 0); err != nil {
		t.Error(err)
	}
}
