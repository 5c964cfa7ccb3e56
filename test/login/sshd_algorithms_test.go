package login

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"fleetssh"
	"fleetssh/internal/fleettest"
	"fleetssh/internal/sshdtest"
)

// A login says which server it is, what the server offered and what both sides agreed on.
func TestSSHDAlgorithms(t *testing.T) {
	sshdtest.CheckLeaks(t)
	user := sshdtest.CurrentUser(t)
	key := sshdtest.NewKey(t, sshdtest.KindED25519)
	s := sshdtest.Start(t, sshdtest.Options{Config: []string{
		"KexAlgorithms sntrup761x25519-sha512@openssh.com,diffie-hellman-group16-sha512,curve25519-sha256",
		"Ciphers aes256-ctr,aes128-ctr", "MACs hmac-sha2-512", "PasswordAuthentication yes", "KbdInteractiveAuthentication no",
	}})
	s.Authorize(t, user, key.Public())
	file := filepath.Join(t.TempDir(), "key")
	key.Write(t, file, "")
	host := fleettest.HostConfig(t, s, user, fleetssh.Auth{Identities: []string{file}, NoAgent: true})
	login := fleettest.Dial(t, host).Logins()[0]
	fleettest.Contains(t, login.Version, "SSH-2.0-OpenSSH_")
	fleettest.Equal(t, "allowed", strings.Join(login.Allowed, " "), "publickey password")
	fleettest.Equal(t, "accepted", strings.Join(login.Methods, " "), "publickey")
	fleettest.Equal(t, "key exchange", login.Algorithms.KeyExchange, "curve25519-sha256")
	fleettest.Equal(t, "host key", login.Algorithms.HostKey, login.HostKey.Type())
	fleettest.Equal(t, "MAC", login.Algorithms.Write.MAC, "hmac-sha2-512")
	fleettest.Equal(t, "MAC of the host", login.Algorithms.Read.MAC, "hmac-sha2-512")
	if !slices.Contains(login.Offered.Ciphers, login.Algorithms.Write.Cipher) {
		t.Errorf("the cipher %s was not offered", login.Algorithms.Write.Cipher)
	}
	// The post-quantum key exchange that this library does not have is offered all the same.
	fleettest.Equal(t, "first offer", login.Offered.KeyExchanges[0], "sntrup761x25519-sha512@openssh.com")
	fleettest.Equal(t, "second offer", login.Offered.KeyExchanges[1], "diffie-hellman-group16-sha512")
	if got := login.Offered; !slices.Equal(got.Ciphers, []string{"aes256-ctr", "aes128-ctr"}) || !slices.Equal(got.MACs, []string{"hmac-sha2-512"}) || !slices.Contains(got.HostKeys, login.Algorithms.HostKey) {
		t.Errorf("offered: %+v", got)
	}
}
