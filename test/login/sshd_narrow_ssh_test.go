package login

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"fleetssh"
	"fleetssh/internal/fleettest"
	"fleetssh/internal/sshdtest"
	"fleetssh/sshconfig"
)

// likeSSH is a pair of servers with keys and files, to compare the effect of lines of ssh_config on
// ssh and on the library.
type likeSSH struct {
	dir  string
	port map[string]int // by the type of the host key
}

// in returns the path of a file.
func (l *likeSSH) in(name string) string { return filepath.Join(l.dir, name) }

// keygen runs ssh-keygen, with DIR in its arguments for the directory of the files.
func (l *likeSSH) keygen(t testing.TB, args ...string) {
	t.Helper()
	for i, arg := range args {
		args[i] = strings.ReplaceAll(arg, "DIR", l.dir)
	}
	if out, err := exec.Command("ssh-keygen", append([]string{"-q"}, args...)...).CombinedOutput(); err != nil {
		t.Fatalf("ssh-keygen %q: %v: %s", args, err, out)
	}
}

func (l *likeSSH) read(t testing.TB, name string) string {
	t.Helper()
	text, err := os.ReadFile(l.in(name))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(text)) + "\n"
}

func (l *likeSSH) write(t testing.TB, name, text string) {
	t.Helper()
	sshdtest.WriteProgram(t, l.in(name), text) // some of the files are programs
	if err := os.Chmod(l.in(name), 0o700); err != nil {
		t.Fatal(err)
	}
}

// newLikeSSH starts the servers. Their host keys "hostrsa" and "hosted" have certificates by
// "rsaca". The user keys are "rsa", "ed", "rsasigned" and "edsigned"; the servers accept the last
// two only with their certificates by "edca".
func newLikeSSH(t *testing.T) *likeSSH {
	l := &likeSSH{dir: t.TempDir(), port: make(map[string]int)}
	user := sshdtest.CurrentUser(t)
	for name, kind := range map[string]string{
		"hostrsa": "rsa", "hosted": "ed25519", "rsaca": "rsa", "edca": "ed25519", "other": "ed25519",
		"rsa": "rsa", "ed": "ed25519", "rsasigned": "rsa", "edsigned": "ed25519",
	} {
		args := []string{"-t", kind, "-N", "", "-C", "", "-f", "DIR/" + name}
		if kind == "rsa" {
			args = append(args, "-b", "2048")
		}
		l.keygen(t, args...)
	}
	l.keygen(t, "-s", "DIR/rsaca", "-t", "rsa-sha2-512", "-h", "-I", "host", "-z", "7", "-n", "127.0.0.1", "DIR/hostrsa.pub", "DIR/hosted.pub")
	l.keygen(t, "-s", "DIR/edca", "-I", "me", "-n", user, "DIR/rsasigned.pub", "DIR/edsigned.pub")
	l.write(t, "authorized", l.read(t, "rsa.pub")+l.read(t, "ed.pub"))
	for _, kind := range []string{"rsa", "ed"} {
		s := sshdtest.Start(t, sshdtest.Options{HostKeys: []string{}, Config: []string{
			"HostKey " + l.in("host"+kind), "HostCertificate " + l.in("host"+kind+"-cert.pub"),
			"TrustedUserCAKeys " + l.in("edca.pub"), "AuthorizedKeysFile " + l.in("authorized"),
		}})
		l.port[kind] = s.Port
		address := strings.Fields(s.Address())[0]
		l.write(t, "known-"+kind+"-key", address+" "+l.read(t, "host"+kind+".pub"))
		l.write(t, "known-"+kind+"-cert", "@cert-authority "+address+" "+l.read(t, "rsaca.pub"))
	}
	for name, files := range map[string][]string{
		"other.list": {"other.pub"}, "keys": {"other.pub", "hostrsa.pub", "hosted.pub"}, "authority": {"rsaca.pub"},
		"certificates": {"hostrsa-cert.pub", "hosted-cert.pub"},
	} {
		text := "# revoked\n\n"
		for _, file := range files {
			text += l.read(t, file)
		}
		l.write(t, name, text)
	}
	l.write(t, "bad", "ssh-ed25519 nonsense\n")
	l.write(t, "serials", "serial: 7-9\n")
	l.write(t, "serial", "serial: 70\n")
	l.write(t, "ids", "id: host\n")
	l.write(t, "sums", "sha1: "+l.read(t, "hostrsa.pub")+"sha256: "+l.read(t, "hosted.pub"))
	for _, spec := range []string{"serials", "serial", "ids", "sums"} {
		l.keygen(t, "-k", "-f", "DIR/"+spec+".krl", "-s", "DIR/rsaca.pub", "DIR/"+spec)
	}
	l.keygen(t, "-k", "-f", "DIR/other.krl", "-s", "DIR/edca.pub", "DIR/serials")
	l.write(t, "lists", fmt.Sprintf("#!/bin/sh\ncat %s/known-*\n", l.dir))
	l.write(t, "fails", "#!/bin/sh\nexit 1\n")
	return l
}

// config writes an ssh_config with the line under test.
func (l *likeSSH) config(t testing.TB, line, hostKind, trust, identity string) string {
	t.Helper()
	dir := t.TempDir()
	path, known := filepath.Join(dir, "config"), filepath.Join(dir, "known_hosts") // a copy, since ssh may add hosts to it
	if err := os.WriteFile(known, []byte(l.read(t, "known-"+hostKind+"-"+trust)), 0o600); err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf("Host h\n%s\nHostName 127.0.0.1\nPort %d\nUser %s\nIdentityFile %s\nIdentitiesOnly yes\nIdentityAgent none\nBatchMode yes\n"+
		"GlobalKnownHostsFile none\nStrictHostKeyChecking yes\nUserKnownHostsFile %s\n", strings.ReplaceAll(line, "DIR", l.dir),
		l.port[hostKind], sshdtest.CurrentUser(t), l.in(identity), known)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// connects reports whether ssh and the library log in. why has the output of ssh and the error of
// the library.
func connects(t testing.TB, config string) (ssh, library bool, why string) {
	t.Helper()
	out, err := exec.CommandContext(fleettest.Soon(t), "ssh", "-F", config, "h", "echo", "in").CombinedOutput()
	ssh = err == nil && strings.HasSuffix(string(out), "in\n")
	why = "ssh: " + strings.TrimSpace(string(out))
	f, err := sshconfig.Load(config)
	if err != nil {
		t.Fatal(err)
	}
	host, err := f.Host("h", fleetssh.HostConfig{Host: "h", RetryDelay: -1, ConnectTimeout: fleettest.Patience})
	if err == nil {
		var c *fleetssh.Client
		if c, err = fleetssh.Dial(fleettest.Soon(t), host); err == nil {
			c.Close()
		}
	}
	return ssh, err == nil, fmt.Sprintf("%s\nlibrary: %v", why, err)
}

// TestSSHDNarrowLikeSSH gives ssh and the library the same ssh_config lines, which restrict host
// keys and user keys, plain and with certificates. Both must log in, or neither.
func TestSSHDNarrowLikeSSH(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	l := newLikeSSH(t)
	all := &fleettest.Together{T: t}
	try := func(line, hostKind, trust, identity string, differs bool) {
		name := fmt.Sprintf("%s, host %s by its %s, user %s", line, hostKind, trust, identity)
		all.Run(name, func(t *testing.T) {
			ssh, library, why := connects(t, l.config(t, line, hostKind, trust, identity))
			if (ssh != library) != differs || differs && library {
				t.Errorf("ssh logs in: %v, the library: %v\n%s", ssh, library, why)
			}
		})
	}
	for _, line := range []string{
		"", "RevokedHostKeys none", "RevokedHostKeys DIR/other.list", "RevokedHostKeys DIR/keys", "RevokedHostKeys DIR/authority",
		"RevokedHostKeys DIR/certificates", "RevokedHostKeys DIR/serials.krl", "RevokedHostKeys DIR/serial.krl",
		"RevokedHostKeys DIR/ids.krl", "RevokedHostKeys DIR/sums.krl", "RevokedHostKeys DIR/other.krl",
		"RevokedHostKeys DIR/missing", "RevokedHostKeys DIR", "RevokedHostKeys DIR/bad", "StrictHostKeyChecking no\nRevokedHostKeys DIR/keys",
		"RequiredRSASize 2048", "RequiredRSASize 2049", "StrictHostKeyChecking no\nRequiredRSASize 2049",
		"CASignatureAlgorithms rsa-sha2-512", "CASignatureAlgorithms -rsa*", "CASignatureAlgorithms ssh-ed25519",
		"HostKeyAlgorithms ssh-ed25519", "HostKeyAlgorithms ssh-ed25519*", "HostKeyAlgorithms -*cert*", "HostKeyAlgorithms rsa-sha2-256",
		"KnownHostsCommand DIR/lists %H", "KnownHostsCommand DIR/fails", "UserKnownHostsFile none\nKnownHostsCommand DIR/lists",
		"UserKnownHostsFile DIR DIR/missing\nKnownHostsCommand DIR/lists",
	} {
		for _, hostKind := range []string{"rsa", "ed"} {
			if strings.HasPrefix(line, "KnownHostsCommand") && hostKind == "rsa" {
				continue // each case starts another process and would test nothing new
			}
			for _, trust := range []string{"key", "cert"} {
				// The library also applies RequiredRSASize to the keys of certificate authorities.
				differs := line == "RequiredRSASize 2049" && hostKind == "ed" && trust == "cert"
				try(line, hostKind, trust, "ed", differs)
			}
		}
	}
	for _, line := range []string{
		"RequiredRSASize 2048", "RequiredRSASize 2049", "RequiredRSASize 1024", "PubkeyAcceptedAlgorithms rsa-sha2-256", "PubkeyAcceptedAlgorithms rsa-sha2-*",
		"PubkeyAcceptedAlgorithms ssh-ed25519", "PubkeyAcceptedAlgorithms -*cert*", "PubkeyAcceptedKeyTypes rsa-sha2-256-cert-v01@openssh.com,ssh-ed25519-cert-v01@openssh.com", "PubkeyAcceptedAlgorithms -ssh-ed25519",
		"PubkeyAuthentication no", "PreferredAuthentications password,keyboard-interactive",
	} {
		for _, identity := range []string{"rsa", "ed", "rsasigned", "edsigned"} {
			try(line, "ed", "key", identity, false)
		}
	}
	all.Wait()
}
