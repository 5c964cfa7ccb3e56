package sshdtest

import (
	"bytes"
	"net"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/crypto/ssh"
)

// Dropbear is a running dropbear, the server of small systems, which differs from OpenSSH in some
// ways. The accounts of [Accounts] may log in with their password.
type Dropbear struct {
	Host    string
	Port    int
	HostKey ssh.PublicKey
}

// StartDropbear starts a server that ends with the test. The test fails if dropbear is not
// installed.
func StartDropbear(t testing.TB) *Dropbear {
	t.Helper()
	path := Program(t, "dropbear", "/usr/sbin/dropbear", "/usr/local/sbin/dropbear")
	dir := t.TempDir()
	key := filepath.Join(dir, "host_key")
	text, err := exec.Command("dropbearkey", "-t", "ed25519", "-f", key).Output()
	must(t, err)
	d := &Dropbear{Host: "127.0.0.1"}
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "ssh-ed25519 ") {
			d.HostKey, _, _, _, err = ssh.ParseAuthorizedKey([]byte(line))
			must(t, err)
		}
	}
	for try := 1; ; try++ {
		free, err := net.Listen("tcp", net.JoinHostPort(d.Host, "0"))
		must(t, err)
		d.Port = free.Addr().(*net.TCPAddr).Port
		free.Close()
		cmd := exec.Command(path, "-F", "-E", "-m", "-r", key, "-P", filepath.Join(dir, "pid"), "-p", net.JoinHostPort(d.Host, strconv.Itoa(d.Port)))
		var log bytes.Buffer
		cmd.Stderr = &log
		cmd.SysProcAttr = ownSession() // so that stop also kills the processes of the connections
		must(t, cmd.Start())
		exited := make(chan struct{})
		go func() {
			cmd.Wait()
			close(exited)
		}()
		stop := func() {
			kill(-cmd.Process.Pid, syscall.SIGKILL)
			<-exited
		}
		if d.answers(exited) {
			t.Cleanup(func() {
				stop()
				if t.Failed() {
					t.Logf("log of dropbear:\n%s", log.String())
				}
			})
			return d
		}
		stop()
		if try == portTries {
			t.Fatalf("dropbear does not start:\n%s", log.String())
		}
	}
}

// answers waits until the server listens or has exited, and reports whether it listens.
func (d *Dropbear) answers(exited <-chan struct{}) bool {
	up := false
	poll(Patience, func() bool {
		select {
		case <-exited:
			return true
		default:
		}
		conn, err := net.Dial("tcp", net.JoinHostPort(d.Host, strconv.Itoa(d.Port)))
		if err == nil {
			conn.Close()
			up = true
		}
		return up
	})
	return up
}

// Address returns the host and the port, as in known_hosts.
func (d *Dropbear) Address() string {
	return "[" + d.Host + "]:" + strconv.Itoa(d.Port)
}
