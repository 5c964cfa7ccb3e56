package knownhosts_test

import (
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"fleetssh/internal/knownhosts"
)

// outcome is "ok" or the reason of a KeyError.
func outcome(t *testing.T, err error) string {
	t.Helper()
	if err == nil {
		return "ok"
	}
	var e *knownhosts.KeyError
	if !errors.As(err, &e) {
		t.Fatalf("%v is not a KeyError", err)
	}
	if strings.ContainsAny(e.Error(), "\n\x00") {
		t.Errorf("text of the error: %q", e.Error())
	}
	return e.Reason.String()
}

// Each case was tried with ssh and sshd of OpenSSH 9.2, with localhost as host "web" and port
// 2401, except where a case says otherwise.
func TestCheck(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, file, want string
	}{
		{"nothing", "", "unknown"},
		{"port", "[web]:2401 {ed}", "ok"},
		{"other port", "[web]:2402 {ed}", "unknown"},
		{"port changed", "[web]:2401 {ed2}", "changed"},
		{"port has another type", "[web]:2401 {rsa}", "changed"},
		{"either of two", "[web]:2401 {ed2}\n[web]:2401 {ed}", "ok"},
		{"plain name", "web {ed}", "ok"},
		{"plain name changed", "web {ed2}", "unknown"},
		{"plain name has another type", "web {rsa}", "unknown"},
		{"port changed, plain name right", "[web]:2401 {ed2}\nweb {ed}", "changed"},
		{"port has another type, plain name right", "[web]:2401 {rsa}\nweb {ed}", "changed"},
		{"port right, plain name wrong", "[web]:2401 {ed}\nweb {ed2}", "ok"},

		{"star", "* {ed}", "ok"},
		{"star changed", "* {ed2}", "changed"},
		{"star changed, plain name right", "* {ed2}\nweb {ed}", "changed"},
		{"star in brackets", "[*]:2401 {ed}", "ok"},
		{"star for the port", "[web]:* {ed}", "ok"},
		{"question mark", "[w?b]:24?1 {ed}", "ok"},
		{"question mark is one character", "[web?]:2401 {ed}", "unknown"},
		{"negated plain name", "*,!web {ed}", "ok"},
		{"negated port, plain name matches", "*,![web]:2401 {ed}", "ok"},
		{"negated port and name", "*,![web]:2401,!web {ed}", "unknown"},
		{"negation first", "!web,![web]:2401,* {ed}", "unknown"},
		{"negation only", "!other {ed}", "unknown"},
		{"twice negated", "!!web,* {ed}", "ok"},
		{"empty negation", "*,! {ed}", "ok"},
		{"list", "a,[web]:2401,b {ed}", "ok"},
		{"commas", ",,[web]:2401, {ed}", "ok"},
		{"upper case", "[WEB]:2401 {ed}", "ok"},
		{"upper case plain", "wEb {ed}", "ok"},
		{"pattern too long", "[web]:2401," + strings.Repeat("a", 1023) + " {ed}", "unknown"},
		{"long pattern", "[web]:2401," + strings.Repeat("a", 1022) + " {ed}", "ok"},

		{"revoked", "@revoked web {ed}", "revoked"},
		{"revoked by star", "@revoked * {ed}\nweb {ed}", "revoked"},
		{"revoked below", "web {ed}\n@revoked web {ed}", "revoked"},
		{"revoked port, plain name right", "@revoked [web]:2401 {ed}\nweb {ed}", "revoked"},
		{"revoked elsewhere", "[web]:2401 {ed}\n@revoked other {ed}", "ok"},
		{"other key revoked", "[web]:2401 {ed}\n@revoked * {ed2}", "ok"},
		{"revoked plain name, port right; OpenSSH accepts", "[web]:2401 {ed}\n@revoked web {ed}", "revoked"},
		{"revoked by line with tab; OpenSSH skips it", "@revoked\t*\t{ed}\nweb {ed}", "revoked"},

		{"authority is no host key", "@cert-authority web {ed}", "unknown"},
		{"authority is no host key, port", "@cert-authority [web]:2401 {ed}", "unknown"},
		{"authority does not hide plain name", "@cert-authority [web]:2401 {ed2}\nweb {ed}", "ok"},

		{"CRLF", "[web]:2401 {ed}\r\n", "ok"},
		{"CRLF and comment", "[web]:2401 {ed} c\r\n", "ok"},
		{"no newline", "[web]:2401 {ed}", "ok"},
		{"NUL behind", "[web]:2401 {ed}\x00junk", "ok"},
		{"NUL before", "\x00[web]:2401 {ed}", "unknown"},
		{"tabs", "\t [web]:2401\t \t{ed}   comment", "ok"},
		{"comment", "  # [web]:2401 {ed}", "unknown"},
		{"unknown marker", "@foo * {ed}", "unknown"},
		{"upper case marker", "@REVOKED * {ed}\n[web]:2401 {ed}", "ok"},
		{"two markers", "@revoked @cert-authority web {ed}\nweb {ed}", "ok"},
		{"bits before type", "[web]:2401 256 {ed}", "unknown"},
		{"certificate as line", "[web]:2401 {cert}", "changed"},
	}
	for _, garbage := range []string{
		"[web]:2401", "[web]:2401 ssh-ed25519", "[web]:2401 garbage", "@revoked", "@cert-authority web", "@",
		"[web]:2401 ssh-foo AAAA", "[web]:2401 1024 35 1234567", "[web]:2401 ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA==",
		"[web]:2401 ssh-ed25519 AAAAC3NzaC1lZDI1NTE5", "[web]:2401 ssh-rsa AAAAC3NzaC1lZDI1NTE5AAAAIA==",
		"[web]:2401 ssh-ed25519 !!!!", "|1|x|y {ed2}", "|2|AAAA|BBBB {ed2}", "| {ed2}", "[web]:2401 ssh-ed25519 AAAA=\rAAA",
		strings.Repeat("x", 1<<21), strings.Repeat("\xff", 100), "\x00\x00\x00",
	} {
		name := fmt.Sprintf("%.40q", garbage)
		tests = append(tests,
			struct{ name, file, want string }{"alone " + name, garbage, "unknown"},
			struct{ name, file, want string }{"above " + name, garbage + "\nweb {ed}", "ok"},
			struct{ name, file, want string }{"below " + name, "[web]:2401 {ed2}\n" + garbage, "changed"})
	}
	cert := keyText(certify(t, "ed", "ca"))
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			file := strings.ReplaceAll(test.file, "{cert}", cert)
			for _, file := range []string{file, hash(file)} {
				for _, host := range []string{"web", "WEB"} {
					if got := outcome(t, read(t, file).Check(host, 2401, key("ed"))); got != test.want {
						t.Errorf("%s: %s, want %s, with\n%s", host, got, test.want, file)
					}
				}
			}
		})
	}
}

func TestCheckOnPort22(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, file, host, want string
	}{
		{"plain", "web {ed}", "web", "ok"},
		{"changed", "web {ed2}", "web", "changed"},
		{"another type", "web {rsa}", "web", "changed"},
		{"with port 22; nobody writes that", "[web]:22 {ed}", "web", "unknown"},
		{"other port", "[web]:2222 {ed}", "web", "unknown"},
		{"IPv6", "::1 {ed}", "::1", "ok"},
		{"IPv6 in brackets", "::1 {ed}", "[::1]", "ok"},
		{"IPv6 letters", "FE80::AB {ed}", "fe80::ab", "ok"},
		{"address", "10.0.0.* {ed}", "10.0.0.7", "ok"},
		{"no name", "* {ed}", "", "unknown"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			db := read(t, test.file)
			for _, port := range []int{0, 22} {
				if got := outcome(t, db.Check(test.host, port, key("ed"))); got != test.want {
					t.Errorf("port %d: %s, want %s", port, got, test.want)
				}
			}
		})
	}
	if got := outcome(t, read(t, "[::1]:2222 {ed}").Check("::1", 2222, key("ed"))); got != "ok" {
		t.Errorf("IPv6 with port: %s", got)
	}
}

// TestCheckCertificate is TestCheck with a server that shows a certificate of ca for ed.
func TestCheckCertificate(t *testing.T) {
	t.Parallel()
	good := certify(t, "ed", "ca")
	tests := []struct {
		name, file string
		cert       *ssh.Certificate
		want       string
	}{
		{"authority", "@cert-authority web {ca}", good, "ok"},
		{"authority, port", "@cert-authority [web]:2401 {ca}", good, "ok"},
		{"authority, star", "@cert-authority * {ca}", good, "ok"},
		{"authority, other host", "@cert-authority other {ca}", good, "unknown"},
		{"authority, negated", "@cert-authority *,!web,![web]:2401 {ca}", good, "unknown"},
		{"other authority", "@cert-authority * {ca2}", good, "unknown"},
		{"authority as host key", "web {ca}", good, "unknown"},
		{"authority of another type", "@cert-authority web {rsaca}", certify(t, "ed", "rsaca"), "ok"},
		{"key of another type", "@cert-authority web {ca}", certify(t, "rsa", "ca"), "ok"},
		{"plain key", "web {ed}", good, "ok"},
		{"plain key, port", "[web]:2401 {ed}", good, "ok"},
		{"plain key, other authority", "@cert-authority [web]:2401 {ca2}\n[web]:2401 {ed}", good, "ok"},
		{"plain name, other authority", "@cert-authority [web]:2401 {ca2}\nweb {ed}", good, "ok"},
		{"plain key changed", "[web]:2401 {ed2}", good, "changed"},
		{"plain key changed, other authority", "@cert-authority [web]:2401 {ca2}\n[web]:2401 {ed2}", good, "changed"},
		{"plain key changed, authority", "@cert-authority web {ca}\n[web]:2401 {ed2}", good, "ok"},

		{"authority revoked", "@cert-authority web {ca}\n@revoked * {ca}", good, "revoked"},
		{"authority revoked, plain key", "web {ed}\n@revoked * {ca}", good, "revoked"},
		{"authority revoked, port", "@revoked [web]:2401 {ca}\n@cert-authority web {ca}", good, "revoked"},
		{"authority revoked, plain name; OpenSSH accepts", "@cert-authority [web]:2401 {ca}\n@revoked web {ca}", good, "revoked"},
		{"key revoked", "@cert-authority web {ca}\n@revoked * {ed}", good, "revoked"},

		{"no names", "@cert-authority * {ca}", certify(t, "ed", "ca", principals()), "ok"},
		{"other name", "@cert-authority * {ca}", certify(t, "ed", "ca", principals("node9")), "bad certificate"},
		{"other name, plain key", "@cert-authority * {ca}\nweb {ed}", certify(t, "ed", "ca", principals("node9")), "ok"},
		{"other name, key changed", "@cert-authority * {ca}\n[web]:2401 {ed2}", certify(t, "ed", "ca", principals("node9")), "changed"},
		{"second name", "@cert-authority * {ca}", certify(t, "ed", "ca", principals("node9", "web")), "ok"},
		{"upper case name", "@cert-authority * {ca}", certify(t, "ed", "ca", principals("WEB")), "bad certificate"},
		{"name with port", "@cert-authority * {ca}", certify(t, "ed", "ca", principals("[web]:2401")), "bad certificate"},
		{"wildcard name; from 10.3 on", "@cert-authority * {ca}", certify(t, "ed", "ca", principals("w*")), "ok"},
		{"negated name", "@cert-authority * {ca}", certify(t, "ed", "ca", principals("!node9")), "bad certificate"},
		{"expired", "@cert-authority * {ca}", certify(t, "ed", "ca", expired), "bad certificate"},
		{"expired, plain key", "@cert-authority * {ca}\nweb {ed}", certify(t, "ed", "ca", expired), "ok"},
		{"not yet valid", "@cert-authority * {ca}", certify(t, "ed", "ca", early), "bad certificate"},
		{"for users", "@cert-authority * {ca}", certify(t, "ed", "ca", forUsers), "bad certificate"},
		{"critical option", "@cert-authority * {ca}", certify(t, "ed", "ca", critical), "bad certificate"},
		{"SHA-1", "@cert-authority * {rsaca}", signedWithSHA1(t), "bad certificate"},
		{"forged", "@cert-authority * {ca}", forged(t), "bad certificate"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			for _, file := range []string{test.file, hash(test.file)} {
				if got := outcome(t, read(t, file).Check("web", 2401, test.cert)); got != test.want {
					t.Errorf("%s, want %s, with\n%s", got, test.want, file)
				}
			}
		})
	}
}

func signedWithSHA1(t *testing.T) *ssh.Certificate {
	t.Helper()
	signer, err := ssh.NewSignerWithAlgorithms(keys()["rsaca"].(ssh.AlgorithmSigner), []string{ssh.KeyAlgoRSA})
	if err != nil {
		t.Fatal(err)
	}
	cert := certify(t, "ed", "ca")
	if err := cert.SignCert(rand.Reader, signer); err != nil {
		t.Fatal(err)
	}
	return cert
}

func forged(t *testing.T) *ssh.Certificate {
	t.Helper()
	cert := certify(t, "ed", "ca", principals("node9"))
	cert.ValidPrincipals = []string{"web"}
	return cert
}

func TestKeyError(t *testing.T) {
	t.Parallel()
	db := read(t, "# c\n[web]:2401 {ed2}\n[web]:2401 {rsa}\n@revoked * {ec}\n@cert-authority * {ca}\n")
	tests := []struct {
		name string
		key  ssh.PublicKey
		want string
	}{
		{"changed", key("ed"), "known is ssh-ed25519 " + ssh.FingerprintSHA256(key("ed2")) +
			" in known_hosts:2, ssh-rsa " + ssh.FingerprintSHA256(key("rsa")) + " in known_hosts:3"},
		{"revoked", key("ec"), "revoked: ecdsa-sha2-nistp256 " + ssh.FingerprintSHA256(key("ec")) + " in known_hosts:4"},
		{"certificate", certify(t, "ed2", "ca", expired), ""},
		{"changed certificate", certify(t, "ed", "ca", expired), "(its certificate: ssh: cert has expired)"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			err := db.Check("web", 2401, test.key)
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("%v, want %s", err, test.want)
			}
		})
	}
	err := db.Check("other", 22, certify(t, "ed", "ca"))
	if err == nil || !strings.Contains(err.Error(), "not valid") || !strings.Contains(err.Error(), "in known_hosts:5") {
		t.Error(err)
	}
	err = db.Check("other", 22, certify(t, "ed", "ca2"))
	if err == nil || !strings.Contains(err.Error(), "nor is the authority "+ssh.FingerprintSHA256(key("ca2"))) {
		t.Error(err)
	}
}

func TestParseErrors(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"# comment":        "blank line or comment",
		"":                 "blank line or comment",
		"web ssh-foo AAAA": "unknown key type",
		"@foo web {ed}":    "unknown marker",
		"x":                "no key",
		"web {ed}":         "",
	} {
		if err := knownhosts.ParseLine(fill(line)); err == nil && want != "" || err != nil && err.Error() != want {
			t.Errorf("%q: %v, want %q", line, err, want)
		}
	}
}

func TestNames(t *testing.T) {
	t.Parallel()
	const key = " ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f\n"
	db := new(knownhosts.DB)
	text := "web2,web1" + key + "[db1]:2222" + key + "*.x,!a,b?,c" + key + "@cert-authority ca" + key + "@revoked r" + key + "web1" + key
	if err := db.Read(strings.NewReader(text), "known_hosts"); err != nil {
		t.Fatal(err)
	}
	names := db.Names()
	slices.Sort(names)
	if want := []string{"[db1]:2222", "c", "web1", "web2"}; !slices.Equal(names, want) {
		t.Errorf("%q, want %q", names, want)
	}
}
