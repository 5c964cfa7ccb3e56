package krl_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha1"
	"encoding/binary"
	"fmt"
	"math"
	mathrand "math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"fleetssh/internal/krl"
)

func newSigner(t testing.TB) ssh.Signer {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

func certify(t testing.TB, key ssh.PublicKey, ca ssh.Signer, serial uint64, id string) *ssh.Certificate {
	t.Helper()
	cert := &ssh.Certificate{Key: key, CertType: ssh.HostCert, Serial: serial, KeyId: id, ValidBefore: ssh.CertTimeInfinity}
	if err := cert.SignCert(rand.Reader, ca); err != nil {
		t.Fatal(err)
	}
	return cert
}

func line(key ssh.PublicKey) string { return string(ssh.MarshalAuthorizedKey(key)) }

func write(t testing.TB, path, text string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// keygen runs ssh-keygen and returns its output and whether it succeeded.
func keygen(args ...string) (string, bool) {
	out, err := exec.Command("ssh-keygen", args...).CombinedOutput()
	return string(out), err == nil
}

// Our verdicts on all keys and certificates are compared with those of ssh-keygen -Q.
func TestAgainstSSHKeygen(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	ca, other, host, host2 := newSigner(t), newSigner(t), newSigner(t), newSigner(t)
	keys := map[string]ssh.PublicKey{
		"key": host.PublicKey(), "key2": host2.PublicKey(), "ca": ca.PublicKey(), "other": other.PublicKey(),
		"cert0":   certify(t, host.PublicKey(), ca, 0, "zero"),
		"byother": certify(t, host.PublicKey(), other, 7, "web"),
		"last":    certify(t, host2.PublicKey(), ca, math.MaxUint64, "last"),
	}
	for _, n := range []uint64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 64, 100, 101, 200, 1 << 40} {
		keys[fmt.Sprintf("cert%d", n)] = certify(t, host.PublicKey(), ca, n, fmt.Sprintf("id%d", n%4))
	}
	for name, key := range keys {
		write(t, in(name+".pub"), line(key))
	}
	specs := map[string]string{
		"serial":         "serial: 7\n",
		"range":          "serial: 3-8\n",
		"two":            "serial: 1-2\nserial: 5-100\nserial: 101\n",
		"alternating":    "serial: 1\nserial: 3\nserial: 5\nserial: 7\nserial: 9\nserial: 64\nserial: 101\n",
		"large":          "serial: 1099511627776-18446744073709551615\n",
		"id":             "id: id1\nid: nobody\n",
		"id and serials": "id: web\nserial: 2\n",
		"key":            "key: " + line(keys["key"]),
		"cert":           "key: " + line(keys["cert4"]),
		"the authority":  "key: " + line(keys["ca"]),
		"sha1":           "sha1: " + line(keys["key2"]),
		"sha256":         "sha256: " + line(keys["key"]),
		"hash":           "hash: " + ssh.FingerprintSHA256(keys["ca"]) + "\n",
		"nothing":        "",
	}
	random := mathrand.New(mathrand.NewPCG(1, 2))
	for i := range 6 {
		var spec strings.Builder
		for range 1 + random.IntN(60) {
			first := 1 + random.Uint64N(250)
			fmt.Fprintf(&spec, "serial: %d-%d\n", first, first+1+random.Uint64N(3))
		}
		specs[fmt.Sprintf("random%d", i)] = spec.String()
	}
	var files []string
	for name, spec := range specs {
		for _, authority := range []string{"ca.pub", "other.pub", "none", "NONE"} {
			path := in(fmt.Sprintf("krl %s of %s", name, authority))
			args := []string{"-q", "-k", "-f", path}
			if authority != "NONE" { // all authorities
				args = append(args, "-s", in(authority))
			}
			if authority == "none" {
				args = args[:4]
			}
			if out, ok := keygen(append(args, write(t, path+".spec", spec))...); !ok {
				if authority == "none" || authority == "NONE" {
					continue // this version wants one
				}
				t.Fatalf("%s: %s", path, out)
			}
			files = append(files, path)
		}
	}
	for _, file := range files {
		l, err := krl.ReadFile(file)
		if err != nil {
			t.Errorf("%v", err)
			continue
		}
		args := []string{"-Q", "-f", file}
		for name := range keys {
			args = append(args, in(name+".pub"))
		}
		said := make(map[string]string) // by key
		out, _ := keygen(args...)
		for row := range strings.Lines(out) { // "path (comment): REVOKED"
			path, verdict, _ := strings.Cut(strings.TrimSpace(row), ": ")
			path, _, _ = strings.Cut(path, " (")
			said[strings.TrimSuffix(filepath.Base(path), ".pub")] = verdict
		}
		for name, key := range keys {
			want := map[string]bool{"ok": false, "REVOKED": true}
			if _, ok := want[said[name]]; !ok {
				t.Fatalf("%s: %s: ssh-keygen: %s", filepath.Base(file), name, out)
			}
			if reason := l.Reason(key); (reason != "") != want[said[name]] {
				t.Errorf("%s: %s is revoked: %q, ssh-keygen: %s", filepath.Base(file), name, reason, said[name])
			}
		}
	}
}

// str encodes a string.
func str(s string) string { return string(binary.BigEndian.AppendUint32(nil, uint32(len(s)))) + s }

func num(n uint64) string { return string(binary.BigEndian.AppendUint64(nil, n)) }

// header returns a KRL without sections.
const header = "SSHKRL\n\x00" + "\x00\x00\x00\x01" + "\x00\x00\x00\x00\x00\x00\x00\x00" + "\x00\x00\x00\x00\x00\x00\x00\x00" + "\x00\x00\x00\x00\x00\x00\x00\x00" + "\x00\x00\x00\x00" + "\x00\x00\x00\x00"

func certificates(sections string) string { return header + "\x01" + str(str("")+str("")+sections) }

func TestParse(t *testing.T) {
	t.Parallel()
	key, ca := newSigner(t).PublicKey(), newSigner(t)
	cert := certify(t, key, ca, 70, "web")
	sum := sha1.Sum(key.Marshal())
	for _, test := range []struct{ name, text, want string }{
		{"no section", header, ""},
		{"key", header + "\x02" + str(str(string(key.Marshal()))), "the key"},
		{"SHA-1", header + "\x03" + str(str(string(sum[:]))), "the key"},
		{"authority", header + "\x02" + str(str(string(ca.PublicKey().Marshal()))), "the authority that signed it"},
		{"serial", certificates("\x20" + str(num(1)+num(70))), "the certificate with serial number 70"},
		{"range", certificates("\x21" + str(num(60)+num(70))), "the certificate with serial number 70"},
		{"ranges that overlap", certificates("\x21" + str(num(60)+num(90)) + "\x21" + str(num(61)+num(62))), "the certificate with serial number 70"},
		{"range below", certificates("\x21" + str(num(60)+num(69))), ""},
		{"bitmap", certificates("\x22" + str(num(60)+str("\x04\x00"))), "the certificate with serial number 70"},
		{"bitmap, another bit", certificates("\x22" + str(num(60)+str("\x02\x00"))), ""},
		{"empty bitmap", certificates("\x22" + str(num(60)+str(""))), ""},
		{"key ID", certificates("\x23" + str(str("db")+str("web"))), `certificates with the key ID "web"`},
		{"optional extension", header + "\xff" + str(str("x")+"\x00"+str("")), ""},
		{"another authority", header + "\x01" + str(str(string(key.Marshal()))+str("")+"\x20"+str(num(70))), ""},
		{"its authority", header + "\x01" + str(str(string(ca.PublicKey().Marshal()))+str("")+"\x20"+str(num(70))), "the certificate with serial number 70"},
		{"list", "# x\n\n \t" + line(newSigner(t).PublicKey()) + line(key), "the key"},
		{"list with another certificate of the key", line(certify(t, key, newSigner(t), 1, "")), "the key"},
		{"list with the authority", line(ca.PublicKey()), "the authority that signed it"},
		{"list with a certificate of the authority", line(certify(t, ca.PublicKey(), newSigner(t), 1, "")), "the authority that signed it"},
		{"list with others", line(newSigner(t).PublicKey()), ""},
		{"empty list", "", ""},
		{"list with CRLF", "# x\r\n" + strings.TrimSpace(line(key)) + "\r\n", "the key"},
		{"list with a type that nobody knows", "ssh-new " + "AAAAB3NzaC1uZXcAAAAA", ""},
	} {
		l, err := krl.Parse([]byte(test.text))
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		if got := l.Reason(cert); got != test.want {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
	for name, text := range map[string]string{
		"version":            "SSHKRL\n\x00\x00\x00\x00\x02" + header[12:],
		"cut header":         header[:20],
		"cut section":        header + "\x02\x00\x00",
		"cut entry":          header + "\x02" + str("\x00\x00\x00\x09x"),
		"signature":          header + "\x04" + str("x"),
		"unknown section":    header + "\x09" + str(""),
		"critical extension": header + "\xff" + str(str("x")+"\x01"+str("")),
		"more behind one":    header + "\xff" + str(str("x")+"\x00"+str("")+"x"),
		"short SHA-256":      header + "\x05" + str(str("abc")),
		"empty key":          header + "\x02" + str(str("")),
		"authority":          header + "\x01" + str(str("abc")+str("")),
		"serial zero":        certificates("\x20" + str(num(0))),
		"cut serial":         certificates("\x20" + str("\x01")),
		"range backwards":    certificates("\x21" + str(num(9)+num(8))),
		"more behind range":  certificates("\x21" + str(num(8)+num(9)+"x")),
		"negative bitmap":    certificates("\x22" + str(num(1)+str("\x80"))),
		"bitmap too far":     certificates("\x22" + str(num(math.MaxUint64)+str("\x02"))),
		"bitmap too long":    certificates("\x22" + str(num(1)+str("\x01"+strings.Repeat("x", 1<<21)))),
		"unknown in it":      certificates("\x24" + str("")),
		"word":               "hello\n",
		"no base64":          "ssh-ed25519 !!!\n",
		"other type":         "ssh-rsa " + strings.Fields(line(key))[1],
		"half a key":         "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA==\n",
		"half a certificate": "ssh-ed25519-cert-v01@openssh.com AAAAIHNzaC1lZDI1NTE5LWNlcnQtdjAxQG9wZW5zc2guY29tAAAA",
	} {
		if _, err := krl.Parse([]byte(text)); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := krl.ReadFile(t.TempDir()); err == nil {
		t.Error("a folder: no error")
	}
	if _, err := krl.ReadFile(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("missing: no error")
	}
}

// FuzzParse looks for input that takes too long for its length, or that crashes the program; and
// checks that a list revokes the keys that it contains.
func FuzzParse(f *testing.F) {
	key := newSigner(f).PublicKey()
	cert := certify(f, key, newSigner(f), 70, "web")
	f.Add([]byte(header))
	f.Add([]byte(certificates("\x20" + str(num(1)+num(70)) + "\x21" + str(num(8)+num(9)) + "\x22" + str(num(60)+str("\x04\x00")) + "\x23" + str(str("a")))))
	f.Add([]byte(header + "\x02" + str(str(string(key.Marshal()))) + "\xff" + str(str("x")+"\x00"+str(""))))
	f.Add([]byte(line(key)))
	f.Fuzz(func(t *testing.T, data []byte) {
		l, err := krl.Parse(data)
		if err != nil {
			return
		}
		l.Reason(cert)
		if strings.HasPrefix(string(data), "SSHKRL\n\x00") {
			return
		}
		more, err := krl.Parse([]byte(string(data) + "\n" + line(key)))
		if err != nil || more.Reason(key) == "" {
			t.Fatalf("a key behind %q is not revoked: %v", data, err)
		}
	})
}
