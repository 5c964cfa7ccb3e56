package knownhosts_test

import (
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
)

// A certificate after a marker stands for the key in it, on both sides. Each case was tried with
// ssh of OpenSSH 9.2.
func TestCertificateBehindMarker(t *testing.T) {
	t.Parallel()
	good := certify(t, "ed", "ca")
	fills := strings.NewReplacer(
		"{cert}", keyText(good),
		"{renewed}", keyText(certify(t, "ed", "ca2")), // another certificate of the same key
		"{cacert}", keyText(certify(t, "ca", "ca2")), // of the authority's key
		"{other}", keyText(certify(t, "ed2", "ca")),
	)
	for _, test := range []struct {
		name, file  string
		plain, cert string // what becomes of the host's key, and of its certificate
	}{
		{"the certificate it shows", "@cert-authority * {ca}\nweb {ed}\n@revoked * {cert}", "revoked", "revoked"},
		{"another one of its key", "@cert-authority * {ca}\nweb {ed}\n@revoked * {renewed}", "revoked", "revoked"},
		{"by name and port", "@cert-authority * {ca}\nweb {ed}\n@revoked [web]:2401 {cert}", "revoked", "revoked"},
		{"by name", "@cert-authority * {ca}\nweb {ed}\n@revoked web {cert}", "revoked", "revoked"},
		{"of the authority", "@cert-authority * {ca}\nweb {ed}\n@revoked * {cacert}", "ok", "revoked"},
		{"of another host", "@cert-authority * {ca}\nweb {ed}\n@revoked * {other}", "ok", "ok"},
		{"for another host", "@cert-authority * {ca}\nweb {ed}\n@revoked db {cert}", "ok", "ok"},
		{"authority listed by its certificate", "@cert-authority * {cacert}", "unknown", "ok"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			file := fills.Replace(test.file)
			for _, file := range []string{file, hash(file)} {
				db := read(t, file)
				for i, shown := range []ssh.PublicKey{key("ed"), good} {
					if got, want := outcome(t, db.Check("web", 2401, shown)), []string{test.plain, test.cert}[i]; got != want {
						t.Errorf("%s: %s, want %s, with\n%s", shown.Type(), got, want, file)
					}
				}
			}
		})
	}
}
