package knownhosts_test

import (
	"fmt"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"fleetssh/internal/knownhosts"
)

// shown returns the keys that host web on port 2222 shows, by their names: "KEY/CA" is a
// certificate, and "..." means that there may be more.
func shown(t testing.TB, words string) knownhosts.Shown {
	t.Helper()
	s := knownhosts.Shown{Host: "web", Port: 2222}
	for word := range strings.FieldsSeq(words) {
		name, ca, certified := strings.Cut(word, "/")
		switch {
		case word == "...":
			s.Partial = true
		case ca == "expired":
			s.Keys = append(s.Keys, certify(t, name, "ca", expired))
		case certified:
			s.Keys = append(s.Keys, certify(t, name, ca))
		default:
			s.Keys = append(s.Keys, key(name))
		}
	}
	return s
}

func TestJudge(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, file, shown, want string
	}{
		{"nothing known", "", "ed ec rsa", "new new new"},
		{"all known", "[web]:2222 {ed}\n[web]:2222 {ec}", "ed ec", "known known"},
		{"known by one type", "[web]:2222 {ed}", "ed ec rsa", "known other other"},
		{"known by plain name", "web {ed}", "ed ec rsa", "known other other"},
		{"plain name has other key", "web {ed2}", "ed ec", "new new"},
		{"changed", "[web]:2222 {ed2}", "ed", "changed"},
		{"changed, others not listed", "[web]:2222 {ed2}", "ed ec", "changed changed"},
		{"changed, another known", "[web]:2222 {ed2}\n[web]:2222 {rsa}", "ed ec rsa", "changed other known"},
		{"known type not shown", "[web]:2222 {ed}", "ec rsa", "changed changed"},
		{"known type not shown yet", "[web]:2222 {rsa}", "ed ec ...", "other other"},
		{"changed for sure", "[web]:2222 {ed2}\n[web]:2222 {rsa}", "ed ec ...", "changed other"},
		{"either of two", "[web]:2222 {ed2}\n[web]:2222 {ed}", "ed", "known"},
		{"revoked", "@revoked * {ed}", "ed ec", "revoked new"},
		{"revoked and known", "@revoked web {ed}\n[web]:2222 {ed}\n[web]:2222 {ec}", "ed ec rsa", "revoked known other"},
		{"certificate", "@cert-authority * {ca}", "ed/ca ed ec", "certificate other other"},
		{"certificate and key", "@cert-authority * {ca}\n[web]:2222 {ec}", "ed/ca ed ec", "certificate other known"},
		{"expired", "@cert-authority * {ca}", "ed/expired ed", "invalid new"},
		{"expired, key known", "@cert-authority * {ca}\n[web]:2222 {ed}", "ed/expired ed", "known known"},
		{"expired, key changed", "@cert-authority * {ca}\n[web]:2222 {ed2}", "ed/expired ed", "changed changed"},
		{"authority not listed", "", "ed/ca ed", "new new"},
		{"authority not listed, key known", "web {ed}", "ed/ca ed rsa", "known known other"},
		{"authority revoked", "@cert-authority * {ca}\n@revoked * {ca}", "ed/ca ed", "revoked new"},
		{"no keys", "web {ed}", "", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			for _, file := range []string{test.file, hash(test.file)} {
				var got []string
				for _, v := range read(t, file).Judge(shown(t, test.shown)) {
					got = append(got, v.Standing.String())
					if v.Standing.Alarming() != (len(v.Lines) > 0) {
						t.Errorf("%v has the reasons %v", v.Standing, v.Lines)
					}
				}
				if got := strings.Join(got, " "); got != test.want {
					t.Errorf("got %s, want %s", got, test.want)
				}
			}
		})
	}
}

// A changed key names the lines with keys of its type.
func TestJudgeNamesLines(t *testing.T) {
	t.Parallel()
	db := read(t, "web {ec}\nweb {ed2}\n")
	s := shown(t, "ed rsa")
	s.Port = 0
	verdicts := db.Judge(s)
	fingerprint := ssh.FingerprintSHA256
	want := fmt.Sprintf("[[ssh-ed25519 %s in known_hosts:2] [ecdsa-sha2-nistp256 %s in known_hosts:1 ssh-ed25519 %[1]s in known_hosts:2]]",
		fingerprint(key("ed2")), fingerprint(key("ec")))
	if got := fmt.Sprint([][]knownhosts.Known{verdicts[0].Lines, verdicts[1].Lines}); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
