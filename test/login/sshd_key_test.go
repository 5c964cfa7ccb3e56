package login

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"fleetssh"
	"fleetssh/internal/fleettest"
	"fleetssh/internal/sshdtest"
)

func TestSSHDKeyFiles(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	s := sshdtest.Start(t, sshdtest.Options{})
	user := sshdtest.CurrentUser(t)
	var authorized []ssh.PublicKey
	// Few rounds of the key derivation make the test fast.
	quick := []string{"-a", "1"}
	for _, test := range []struct {
		name, kind, passphrase string
		options                []string
	}{
		{"ed25519", sshdtest.KindED25519, "", nil},
		{"ecdsa", sshdtest.KindECDSA, "", nil},
		{"ecdsa 521", sshdtest.KindECDSA, "", []string{"-b", "521"}},
		{"rsa", sshdtest.KindRSA, "", nil},
		{"rsa PEM", sshdtest.KindRSA, "", []string{"-m", "PEM"}},
		{"ecdsa PKCS8", sshdtest.KindECDSA, "", []string{"-m", "PKCS8"}},
		{"encrypted ed25519", sshdtest.KindED25519, "s3 cret€", quick},
		{"encrypted ecdsa", sshdtest.KindECDSA, "s3 cret€", quick},
		{"encrypted rsa", sshdtest.KindRSA, "s3 cret€", quick},
		{"encrypted rsa PKCS8", sshdtest.KindRSA, "s3 cret€", []string{"-m", "PKCS8"}},
		{"encrypted ecdsa PKCS8", sshdtest.KindECDSA, "s3 cret€", []string{"-m", "PKCS8"}},
		{"encrypted rsa PEM", sshdtest.KindRSA, "s3 cret€", []string{"-m", "PEM"}},
	} {
		path, public := sshdtest.Keygen(t, test.kind, test.passphrase, test.options...)
		authorized = append(authorized, public)
		s.Authorize(t, user, authorized...)
		t.Run(test.name, func(t *testing.T) {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			auths := []fleetssh.Auth{{KeyFile: path}, {KeyData: data}}
			if test.passphrase != "" {
				auths = []fleetssh.Auth{{KeyFile: path, Passphrase: test.passphrase, Password: "something else"}}
			}
			if test.name == "encrypted ecdsa" {
				auths = []fleetssh.Auth{
					{KeyFile: path, Password: test.passphrase},
					{KeyData: data, Passphrase: test.passphrase},
					{KeyFile: path, Ask: func(_ context.Context, q fleetssh.Question) (string, error) {
						fleettest.Contains(t, q.Prompt, path)
						return test.passphrase, nil
					}},
				}
			}
			for _, auth := range auths {
				fleettest.Dial(t, fleettest.HostConfig(t, s, user, auth))
			}
		})
	}
}

func TestSSHDKeyUnusable(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	s := sshdtest.Start(t, sshdtest.Options{})
	encrypted, _ := sshdtest.Keygen(t, sshdtest.KindED25519, "right", "-a", "1")
	encryptedPEM, _ := sshdtest.Keygen(t, sshdtest.KindRSA, "right", "-m", "PEM")
	data, err := os.ReadFile(encrypted)
	if err != nil {
		t.Fatal(err)
	}
	garbage := filepath.Join(t.TempDir(), "garbage")
	if err := os.WriteFile(garbage, []byte("not a key\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name string
		auth fleetssh.Auth
		path string
		text string
	}{
		{"missing", fleetssh.Auth{KeyFile: "/no/such/key"}, "/no/such/key", "no such file"},
		{"directory", fleetssh.Auth{KeyFile: "/tmp"}, "/tmp", "directory"},
		{"garbage", fleetssh.Auth{KeyFile: garbage}, garbage, "no key found"},
		{"garbage in memory", fleetssh.Auth{KeyData: []byte("not a key")}, "", "no key found"},
		{"no passphrase", fleetssh.Auth{KeyFile: encrypted}, encrypted, "encrypted"},
		{"wrong passphrase", fleetssh.Auth{KeyFile: encrypted, Passphrase: "wr0ng"}, encrypted, "wrong passphrase"},
		{"wrong passphrase in memory", fleetssh.Auth{KeyData: data, Passphrase: "wr0ng"}, "", "wrong passphrase"},
		{"password that is not the passphrase", fleetssh.Auth{KeyFile: encrypted, Password: "wr0ng"}, encrypted, "wrong passphrase"},
		{"wrong passphrase of PEM", fleetssh.Auth{KeyFile: encryptedPEM, Passphrase: "wr0ng"}, encryptedPEM, "wrong passphrase"},
		{"missing certificate", fleetssh.Auth{KeyFile: encrypted, Passphrase: "right", CertFile: "/no/such/cert"}, "/no/such/cert", "no such file"},
		{"public key for a certificate", fleetssh.Auth{KeyFile: encrypted, Passphrase: "right", CertFile: encrypted + ".pub"}, encrypted + ".pub", "not a certificate"},
	} {
		t.Run(test.name, func(t *testing.T) {
			e := fleettest.DialFails[*fleetssh.PKeyFileError](t, fleettest.HostConfig(t, s, "", test.auth))
			fleettest.Equal(t, "path", e.Path, test.path)
			fleettest.Contains(t, strings.ReplaceAll(e.Error(), "does not exist", "no such file"), test.text, s.Host)
			if strings.Contains(e.Error(), "wr0ng") {
				t.Errorf("the error contains the passphrase: %v", e)
			}
		})
	}
	s.Logged(t, 0, "Connection from")
}

// If a key is named, the client offers neither the agent's keys nor the default files.
func TestSSHDNamedKeyOnly(t *testing.T) {
	sshdtest.CheckLeaks(t)
	a := sshdtest.StartAgent(t)
	authorized, other := sshdtest.NewKey(t, sshdtest.KindED25519), sshdtest.NewKey(t, sshdtest.KindED25519)
	a.Add(t, authorized)
	t.Setenv("SSH_AUTH_SOCK", a.Socket)
	home := t.TempDir()
	t.Setenv("HOME", home)
	if err := os.Mkdir(home+"/.ssh", 0o700); err != nil {
		t.Fatal(err)
	}
	authorized.Write(t, home+"/.ssh/id_ed25519", "")
	other.Write(t, home+"/other", "")
	s := sshdtest.Start(t, sshdtest.Options{})
	user := sshdtest.CurrentUser(t)
	s.Authorize(t, user, authorized.Public())
	for _, auth := range []fleetssh.Auth{{KeyFile: "~/other"}, {KeyData: other.PEM(t, "")}, {Signers: []ssh.Signer{other.Signer}}} {
		e := fleettest.DialFails[*fleetssh.AuthenticationError](t, fleettest.HostConfig(t, s, user, auth))
		fleettest.Equal(t, "tried", strings.Join(e.Tried, " "), "publickey")
	}
	if strings.Contains(s.Log(), ssh.FingerprintSHA256(authorized.Public())) {
		t.Error("another key than the named one was offered")
	}
}

func TestSSHDCertificate(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	ca, stranger := sshdtest.NewCA(t), sshdtest.NewCA(t)
	user := sshdtest.CurrentUser(t)
	dir := t.TempDir()
	caFile := filepath.Join(dir, "ca.pub")
	if err := os.WriteFile(caFile, ssh.MarshalAuthorizedKey(ca.Public()), 0o644); err != nil {
		t.Fatal(err)
	}
	principals := filepath.Join(dir, "principals")
	if err := os.WriteFile(principals, []byte("operators\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	trusting := []string{"TrustedUserCAKeys " + caFile}
	mapping := append(trusting, "AuthorizedPrincipalsFile "+principals)
	now := time.Now()
	for _, test := range []struct {
		name    string
		kind    string
		ca      *sshdtest.CA
		valid   sshdtest.Validity
		names   []string
		config  []string
		invalid string // text of the *PKeyFileError if the certificate is named
		refused string // text of the *AuthenticationError
	}{
		{name: "ed25519", names: []string{user}},
		{name: "ecdsa", kind: sshdtest.KindECDSA, names: []string{"x", user}},
		{name: "rsa", kind: sshdtest.KindRSA, names: []string{user}},
		{name: "mapped principal", names: []string{"operators"}, config: mapping},
		{name: "wrong principal", names: []string{"nobody-here"}, refused: "certificate is for nobody-here, not for user " + user},
		{name: "expired", names: []string{user}, valid: sshdtest.Validity{Before: now.Add(-time.Minute)}, invalid: "certificate expired"},
		{name: "not yet valid", names: []string{user}, valid: sshdtest.Validity{After: now.Add(time.Hour), Before: now.Add(2 * time.Hour)}, invalid: "certificate not valid before"},
		{name: "unknown authority", ca: stranger, names: []string{user}, refused: "refused (tried publickey x2)"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if test.kind == "" {
				test.kind = sshdtest.KindED25519
			}
			if test.ca == nil {
				test.ca = ca
			}
			if test.config == nil {
				test.config = trusting
			}
			s := sshdtest.Start(t, sshdtest.Options{Config: test.config})
			key := sshdtest.NewKey(t, test.kind)
			file := filepath.Join(t.TempDir(), "id")
			key.Write(t, file, "")
			cert := test.ca.SignUser(t, key.Public(), test.valid, test.names...)
			named := file + ".cert"
			sshdtest.WriteCertificate(t, named, cert)
			for _, auth := range []fleetssh.Auth{
				{KeyFile: file, CertFile: named},
				{KeyFile: file, CertData: ssh.MarshalAuthorizedKey(cert)},
				{Signers: []ssh.Signer{key.Signer}, CertFile: named},
			} {
				host := fleettest.HostConfig(t, s, user, auth)
				switch {
				case test.invalid != "":
					fleettest.Contains(t, fleettest.DialFails[*fleetssh.PKeyFileError](t, host).Error(), test.invalid)
				case test.refused != "":
					fleettest.Contains(t, fleettest.DialFails[*fleetssh.AuthenticationError](t, host).Error(), test.refused)
				default:
					fleettest.Dial(t, host)
				}
			}
			if test.invalid != "" {
				s.Logged(t, 0, "Connection from")
			}
			// An unusable certificate that is not named, but found next to the key, is not an
			// error.
			sshdtest.WriteCertificate(t, file+"-cert.pub", cert)
			host := fleettest.HostConfig(t, s, user, fleetssh.Auth{KeyFile: file})
			if test.refused == "" && test.invalid == "" {
				fleettest.Dial(t, host)
				fleettest.Contains(t, s.Log(), "Accepted publickey", "CA "+strings.ToUpper(sshdtest.KindED25519))
				return
			}
			fleettest.Contains(t, fleettest.DialFails[*fleetssh.AuthenticationError](t, host).Error(), test.refused, test.invalid)
			s.Authorize(t, user, key.Public())
			fleettest.Dial(t, host) // with the plain key
		})
	}
	t.Run("of another key", func(t *testing.T) {
		t.Parallel()
		s := sshdtest.Start(t, sshdtest.Options{Config: trusting})
		key, other := sshdtest.NewKey(t, sshdtest.KindED25519), sshdtest.NewKey(t, sshdtest.KindED25519)
		cert := ca.SignUser(t, other.Public(), sshdtest.Validity{}, user)
		auth := fleetssh.Auth{KeyData: key.PEM(t, ""), CertData: ssh.MarshalAuthorizedKey(cert)}
		e := fleettest.DialFails[*fleetssh.PKeyFileError](t, fleettest.HostConfig(t, s, user, auth))
		fleettest.Contains(t, e.Error(), "not for this private key")
		s.Logged(t, 0, "Connection from")
	})
	t.Run("of a host", func(t *testing.T) {
		t.Parallel()
		s := sshdtest.Start(t, sshdtest.Options{Config: trusting})
		key := sshdtest.NewKey(t, sshdtest.KindED25519)
		cert := ca.SignHost(t, key.Public(), user)
		auth := fleetssh.Auth{KeyData: key.PEM(t, ""), CertData: ssh.MarshalAuthorizedKey(cert)}
		e := fleettest.DialFails[*fleetssh.PKeyFileError](t, fleettest.HostConfig(t, s, user, auth))
		fleettest.Contains(t, e.Error(), "host certificate")
	})
}
