package login

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"fleetssh"
	"fleetssh/internal/fleettest"
	"fleetssh/internal/sshdtest"
)

// Explain lists the credentials that a login offers, in the same order.
func TestSSHDExplain(t *testing.T) {
	sshdtest.CheckLeaks(t)
	a := sshdtest.StartAgent(t)
	withAgent(t, a.Socket)
	dir := filepath.Join(os.Getenv("HOME"), ".ssh")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		a.Add(t, sshdtest.NewKey(t, sshdtest.KindED25519))
	}
	inBoth := sshdtest.NewKey(t, sshdtest.KindECDSA)
	a.Add(t, inBoth)
	inBoth.Write(t, filepath.Join(dir, "id_ecdsa"), "")
	if err := os.WriteFile(filepath.Join(dir, "id_ecdsa.pub"), ssh.MarshalAuthorizedKey(inBoth.Public()), 0o600); err != nil {
		t.Fatal(err)
	}
	onlyFile := sshdtest.NewKey(t, sshdtest.KindED25519)
	onlyFile.Write(t, filepath.Join(dir, "id_ed25519"), "")
	sshdtest.NewKey(t, sshdtest.KindRSA).Write(t, filepath.Join(dir, "id_rsa"), "a passphrase")

	s := sshdtest.Start(t, sshdtest.Options{})
	host := fleettest.HostConfig(t, s, sshdtest.CurrentUser(t), fleetssh.Auth{Password: "wrong"})
	plans, err := fleetssh.Explain(fleettest.Soon(t), host)
	if err != nil {
		t.Fatal(err)
	}
	fleettest.Equal(t, "plans", len(plans), 1)
	fleettest.Equal(t, "connections", strings.Count(s.Log(), "Connection from"), 0)
	fingerprint := regexp.MustCompile(`SHA256:[A-Za-z0-9+/]+`)
	var planned, passed []string
	for _, step := range plans[0].Steps {
		if step.Phase != "auth" {
			continue
		}
		if step.Passed {
			passed = append(passed, step.What+": "+step.Why)
		} else {
			planned = append(planned, fingerprint.FindString(step.What))
		}
	}
	fleettest.Equal(t, "skipped credentials", len(passed), 1)
	fleettest.Contains(t, strings.Join(passed, "\n"), "id_rsa", "wrong passphrase")
	fleettest.Equal(t, "last", planned[len(planned)-1], "") // the password
	fleettest.Equal(t, "first", planned[0], ssh.FingerprintSHA256(inBoth.Public()))
	fleettest.Equal(t, "last key", planned[len(planned)-2], ssh.FingerprintSHA256(onlyFile.Public()))
	known := 0
	for _, step := range plans[0].Steps {
		if step.Phase == "host_key" && strings.HasPrefix(step.What, "known: ") {
			known++
		}
	}
	fleettest.Equal(t, "known keys", known, len(sshdtest.Kinds))

	e := fleettest.DialFails[*fleetssh.AuthenticationError](t, host)
	fleettest.Equal(t, "tried", strings.Join(e.Tried, ", "), "publickey x5, password")
	var offered []string
	s.Logged(t, 1, "Failed password")
	for _, line := range regexp.MustCompile(`Failed publickey .*`).FindAllString(s.Log(), -1) {
		offered = append(offered, fingerprint.FindString(line))
	}
	if !slices.Equal(offered, planned[:len(planned)-1]) {
		t.Errorf("offered %v, planned %v", offered, planned)
	}
}

// An empty list of identities counts as unset, as in a login: Explain lists the default key files.
func TestExplainEmptyIdentities(t *testing.T) {
	t.Setenv("HOME", t.TempDir())
	t.Setenv("SSH_AUTH_SOCK", "")
	for _, identities := range [][]string{nil, {}} {
		plans, err := fleetssh.Explain(fleettest.Soon(t), fleetssh.HostConfig{Host: "h", HostKeys: fleetssh.InsecureIgnoreHostKeys{}, Auth: fleetssh.Auth{Identities: identities}})
		if err != nil {
			t.Fatal(err)
		}
		var said []string
		for _, step := range plans[0].Steps {
			said = append(said, step.What)
		}
		fleettest.Contains(t, strings.Join(said, "\n"), "publickey: default key files")
	}
}
