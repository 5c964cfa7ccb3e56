package fleettest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"fleetssh"
	"fleetssh/internal/sshdtest"
)

// StartSSHD starts an OpenSSH server, and returns a configuration with which the current user logs
// in by key.
func StartSSHD(t testing.TB, opt sshdtest.Options) (*sshdtest.Server, fleetssh.HostConfig) {
	t.Helper()
	s := sshdtest.Start(t, opt)
	key := sshdtest.NewKey(t, sshdtest.KindED25519)
	user := sshdtest.CurrentUser(t)
	s.Authorize(t, user, key.Public())
	return s, HostConfig(t, s, user, fleetssh.Auth{Signers: []ssh.Signer{key.Signer}})
}

// AccountSSHD starts an OpenSSH server, and returns a configuration with which an account of
// [sshdtest.Accounts] logs in by key. password is the password of all accounts.
func AccountSSHD(t testing.TB, account string, opt sshdtest.Options) (s *sshdtest.Server, host fleetssh.HostConfig, password string) {
	t.Helper()
	password = sshdtest.Accounts(t)
	s, host = StartSSHD(t, opt)
	s.Authorize(t, account, host.Auth.Signers[0].PublicKey())
	host.User = account
	return s, host, password
}

// HostConfig returns a configuration to log in to a server, with a strict check of its keys.
func HostConfig(t testing.TB, s *sshdtest.Server, user string, auth fleetssh.Auth) fleetssh.HostConfig {
	t.Helper()
	return fleetssh.HostConfig{
		Host: s.Host, Port: s.Port, User: user, Auth: auth,
		HostKeys:       Trust(t, KnownLines(s.Address(), KeysOf(s)...)...),
		ConnectTimeout: Patience,
		RetryDelay:     -1,
	}
}

// KeysOf returns the host keys of a server, of the given kinds or all.
func KeysOf(s *sshdtest.Server, kinds ...string) []ssh.PublicKey {
	if len(kinds) == 0 {
		kinds = sshdtest.Kinds
	}
	var keys []ssh.PublicKey
	for _, kind := range kinds {
		if key := s.HostKey(kind); key != nil {
			keys = append(keys, key)
		}
	}
	return keys
}

// KnownLines returns the lines of a known_hosts file for a host with these keys.
func KnownLines(name string, keys ...ssh.PublicKey) []string {
	var lines []string
	for _, key := range keys {
		lines = append(lines, knownhosts.Line([]string{name}, key))
	}
	return lines
}

// Trust returns a strict policy with a known_hosts file of these lines.
func Trust(t testing.TB, lines ...string) fleetssh.HostKeyPolicy {
	t.Helper()
	file := filepath.Join(t.TempDir(), "known_hosts")
	if err := os.WriteFile(file, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	policy := &fleetssh.KnownHosts{Files: []string{file}}
	return policy
}

// StartMaster starts an OpenSSH client as a master (ssh -M) for a host, to which it logs in with a
// key. stop ends it; so does the end of the test.
func StartMaster(t testing.TB, s *sshdtest.Server, controlPath string, key *sshdtest.Key, options ...string) (process *os.Process, stop func()) {
	t.Helper()
	dir := t.TempDir()
	identity, known := filepath.Join(dir, "key"), filepath.Join(dir, "known_hosts")
	key.Write(t, identity, "")
	if err := os.WriteFile(known, []byte(strings.Join(KnownLines(s.Address(), KeysOf(s)...), "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	args := append([]string{
		"-F", "none", "-o", "ControlPath=" + controlPath, "-o", "BatchMode=yes", "-i", identity,
		"-o", "UserKnownHostsFile=" + known, "-p", fmtPort(s.Port), "-l", sshdtest.CurrentUser(t),
	}, options...)
	cmd := exec.Command("ssh", append([]string{"-M", "-N"}, append(args, s.Host)...)...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan struct{})
	go func() {
		cmd.Wait()
		close(exited)
	}()
	stop = func() {
		cmd.Process.Signal(syscall.SIGTERM)
		<-exited
	}
	t.Cleanup(stop)
	sshdtest.Eventually(t, Patience, "the socket of the master", func() bool {
		check := exec.Command("ssh", append([]string{"-O", "check"}, append(args, s.Host)...)...)
		return check.Run() == nil
	})
	return cmd.Process, stop
}

func fmtPort(port int) string {
	return strings.TrimPrefix(fleetssh.HostConfig{Host: "h", Port: port}.String(), "h:")
}

// SSHDFleet starts one OpenSSH server on 16 addresses, and returns n hosts that share the
// addresses.
func SSHDFleet(t testing.TB, n int) (*sshdtest.Server, []fleetssh.HostConfig) {
	t.Helper()
	var addresses []string
	for i := range 16 { // sshd accepts no more
		addresses = append(addresses, fmt.Sprintf("127.0.0.%d", i+1))
	}
	s, host := StartSSHD(t, sshdtest.Options{Addresses: addresses})
	host.HostKeys = Trust(t, KnownLines(fmt.Sprintf("[127.0.0.*]:%d", s.Port), KeysOf(s)...)...)
	host.ConnectTimeout = Patience
	var hosts []fleetssh.HostConfig
	for i := range n {
		host.Host = addresses[i%len(addresses)]
		hosts = append(hosts, host)
	}
	return s, hosts
}

// OnlyInteractive configures sshd to accept only keyboard-interactive.
var OnlyInteractive = []string{"UsePAM yes", "KbdInteractiveAuthentication yes", "PasswordAuthentication no", "PubkeyAuthentication no"}
