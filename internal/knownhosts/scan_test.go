package knownhosts_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"fleetssh/internal/knownhosts"
)

// scanText is a saved scan.
func scanText(t testing.TB, db *knownhosts.DB, hosts ...knownhosts.Shown) string {
	t.Helper()
	var text []byte
	for _, s := range hosts {
		var err error
		if text, err = knownhosts.AppendScan(text, s, db.Judge(s)); err != nil {
			t.Fatal(err)
		}
	}
	return string(text)
}

// describe returns the keys of hosts as text, for comparison.
func describe(hosts []knownhosts.Shown) string {
	var text strings.Builder
	for _, s := range hosts {
		fmt.Fprintf(&text, "%s %v:", s.Name(), s.Partial)
		for _, key := range s.Keys {
			fmt.Fprintf(&text, " %s %x", key.Type(), key.Marshal())
		}
		text.WriteString("\n")
	}
	return text.String()
}

func TestScanIsKept(t *testing.T) {
	t.Parallel()
	db := read(t, "@cert-authority * {ca}\n@revoked * {rsa}\n[web]:2222 {ed2}\n")
	web, v6, mail := shown(t, "ed/ca ed ec rsa ..."), shown(t, "ed"), shown(t, "")
	v6.Host, mail.Host, mail.Port, mail.Partial, mail.Alias = "::1", "mail", 0, true, "post"
	text := scanText(t, db, web, v6, mail)
	want := fill("#certificate [web]:2222 ") + "ssh-ed25519-cert-v01@openssh.com "
	rest := fill("\n#changed [web]:2222 {ed}\n[web]:2222 {ec} other\n#revoked [web]:2222 {rsa}\n#partial [web]:2222\n[::1]:2222 {ed} new\n#alias mail post\n#partial mail\n")
	if !strings.HasPrefix(text, want) || !strings.HasSuffix(text, rest) {
		t.Errorf("kept as\n%s\nwant\n%s…%s", text, want, rest)
	}
	got, err := knownhosts.ReadScan(strings.NewReader("# comment\n\n"+text+text), "scan")
	if err != nil || describe(got) != describe([]knownhosts.Shown{web, v6, mail}) {
		t.Errorf("read as\n%s%v", describe(got), err)
	}
	if !strings.Contains(text, "#alias mail post\n") || got[2].Alias != "post" || got[0].Alias != "" {
		t.Errorf("the alias is %q, in\n%s", got[2].Alias, text)
	}
	// A revoked key stays so, whatever the files say later.
	for i, v := range new(knownhosts.DB).Judge(got[0]) {
		if revoked := v.Key.Type() == "ssh-rsa"; revoked != (v.Standing == knownhosts.Banned) {
			t.Errorf("key %d is %v", i, v.Standing)
		}
	}
	// As a known_hosts file, it trusts no changed key.
	path := filepath.Join(t.TempDir(), "scan")
	if err := knownhosts.WriteFile(path, text); err != nil {
		t.Fatal(err)
	}
	if found := keygen(t, "-F", "[web]:2222", "-f", path); strings.Count(found, "found: line") != 1 || !strings.Contains(found, fill("{ec}")) {
		t.Errorf("ssh-keygen finds\n%s", found)
	}
}

func TestScanOfOthersIsRead(t *testing.T) {
	t.Parallel()
	text := fill("# web:22 SSH-2.0-OpenSSH_9.2p1\r\nWeb {ed}\r\n\r\n[web]:22 {ec}\r\n[db]:2222 {rsa} comment\r\n")
	got, err := knownhosts.ReadScan(strings.NewReader(text), "scan")
	web, db := shown(t, "ed ec"), shown(t, "rsa")
	web.Port, db.Host = 0, "db"
	if err != nil || describe(got) != describe([]knownhosts.Shown{web, db}) {
		t.Errorf("read as\n%s%v", describe(got), err)
	}
	for row, want := range map[string]string{
		"web":                      "no key",
		"web,db {ed}":              `contains ','`,
		"w* {ed}":                  `contains '*'`,
		"[web]:x {ed}":             "not of the form [host]:port",
		"[web] {ed}":               "not of the form [host]:port",
		"[web]:99999 {ed}":         "not of the form [host]:port",
		"@revoked web {ed}":        "a line with a marker",
		hash(fill("web {ed}")):     "hashed",
		"web ssh-foo AAAA":         "unknown key type",
		"#changed web ssh-foo AAA": "unknown key type",
		"#partial a,b":             `contains ','`,
		"web ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA==": "unreadable key",
	} {
		_, err := knownhosts.ReadScan(strings.NewReader("# comment\n"+fill(row)+"\n"), "scan")
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "scan:2: ") {
			t.Errorf("%s: error %v, want %q", row, err, want)
		}
	}
}

func TestScanOfBadName(t *testing.T) {
	t.Parallel()
	s := shown(t, "ed")
	s.Host = "a,b"
	if text, err := knownhosts.AppendScan(nil, s, new(knownhosts.DB).Judge(s)); err == nil {
		t.Errorf("kept as %s", text)
	}
}

func TestFingerprints(t *testing.T) {
	t.Parallel()
	ed, ec, rsa := ssh.FingerprintSHA256(key("ed")), ssh.FingerprintSHA256(key("ec")), ssh.FingerprintSHA256(key("rsa"))
	text := "# host fingerprint\n\nWeb 256 " + ed + "= root@web (ED25519)\r\n[web]:2222 " + ec + " " + rsa + "\nweb " + rsa + "\n::1 " + ed
	f, err := knownhosts.ReadFingerprints(strings.NewReader(text), "list")
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		host string
		port int
		want string
	}{
		{"WEB", 22, "ed rsa "}, {"web", 0, "ed rsa "}, {"web", 2222, "ec rsa "}, {"web", 2223, "ed rsa "}, {"::1", 22, "ed "}, {"db", 22, ""},
	} {
		got := ""
		for _, name := range []string{"ed", "ec", "rsa"} {
			if f.Has(test.host, test.port, key(name)) {
				got += name + " "
			}
		}
		if got != test.want {
			t.Errorf("%s %d: %s, want %s", test.host, test.port, got, test.want)
		}
	}
	for row, want := range map[string]string{
		"web":              "no fingerprint beginning with SHA256:",
		"web MD5:00:11":    "no fingerprint beginning with SHA256:",
		"web SHA256:AAAA":  "is not a fingerprint",
		"256 " + ed + " x": "it begins with a number",
		"a,b " + ed:        "contains ','",
	} {
		_, err := knownhosts.ReadFingerprints(strings.NewReader(row), "list")
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "list:1: ") {
			t.Errorf("%s: error %v, want %q", row, err, want)
		}
	}
}

// FuzzReadScan reads any text. The result is written such that reading it gives the same.
func FuzzReadScan(f *testing.F) {
	for _, seed := range []string{"", "web {ed}", "#changed [web]:22 {ed}\n#partial web", "# c\n[::1]:2222 {ec} new\r\n", "@revoked web {ed}", "|1||", "#new"} {
		f.Add(fill(seed))
	}
	f.Fuzz(func(t *testing.T, text string) {
		hosts, err := knownhosts.ReadScan(strings.NewReader(text), "scan")
		if err != nil {
			return
		}
		kept := scanText(t, new(knownhosts.DB), hosts...)
		again, err := knownhosts.ReadScan(strings.NewReader(kept), "scan")
		if err != nil || describe(again) != describe(hosts) {
			t.Errorf("%v, and\n%s is not\n%s", err, describe(again), describe(hosts))
		}
	})
}

// FuzzReadFingerprints reads any text.
func FuzzReadFingerprints(f *testing.F) {
	f.Add("web " + ssh.FingerprintSHA256(key("ed")))
	f.Add("[::1]:2222 SHA256: SHA256:=\n#")
	f.Fuzz(func(t *testing.T, text string) {
		known, err := knownhosts.ReadFingerprints(strings.NewReader(text), "list")
		for name, list := range known {
			if err != nil || len(list) == 0 || name != strings.ToLower(name) && strings.ToUpper(name) == name {
				t.Errorf("%q: %v, %v", name, list, err)
			}
		}
	})
}

// FuzzAccept accepts and replaces keys in any file. If that succeeds, the host is known by the
// key that it shows, and not by the one that it showed before; the verdict on another host does
// not change.
func FuzzAccept(f *testing.F) {
	f.Add("", false)
	f.Add(fill("[web]:2222 {ed2}"), true)
	f.Add(fill("a,[web]:2222 {ed2}\n@revoked * {ec}\n[*]:2222 {ed}\n"), true)
	f.Add(fill("[web]:2222 {ec}\r\n#\n[web]:2222 {ed2} c"), true)
	f.Add(hash(fill("[web]:2222 {ed2}\n")), true)
	f.Fuzz(func(t *testing.T, text string, replace bool) {
		a := accepted(t, "ed", "ed")
		a.Replace = replace
		before := read(t, text)
		after, err := knownhosts.Rewrite(text, a)
		if err != nil {
			return
		}
		db := read(t, after)
		if err := db.Check("web", 2222, key("ed")); err != nil {
			t.Errorf("%v, and the file is %q", err, after)
		}
		changed := outcome(t, before.Check("web", 2222, key("ed"))) == "changed"
		if err := db.Check("web", 2222, key("ed2")); changed && err == nil && outcome(t, read(t, text).Check("web", 22, key("ed2"))) != "ok" {
			t.Errorf("the old key is known still, and the file is %q", after)
		}
		for _, name := range []string{"ed", "ed2", "ec"} {
			was, is := outcome(t, before.Check("other", 22, key(name))), outcome(t, db.Check("other", 22, key(name)))
			if was != is {
				t.Errorf("other is %s, was %s, and the file is %q", is, was, after)
			}
		}
	})
}

// A file does not replace a device: root could do so to /dev/null.
func TestNoDeviceIsReplaced(t *testing.T) {
	t.Parallel()
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(os.DevNull, link); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{os.DevNull, link} {
		if err := knownhosts.WriteFile(path, "text"); err == nil {
			t.Errorf("%s was replaced", path)
		}
	}
	if info, err := os.Stat(os.DevNull); err != nil || info.Mode()&os.ModeDevice == 0 {
		t.Fatalf("%v %v", info, err)
	}
}
