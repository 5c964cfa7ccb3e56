//go:build unix

package login

import (
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"fleetssh/internal/fleettest"
	"fleetssh/internal/sshdtest"
)

// ordinary matches the tests that TestSSHDOrdinaryUser repeats with an unprivileged account if the
// tests run as root. That account starts its own KDC, servers and agents.
const ordinary = "^TestSSHD(GSSAPI|GSSAPISecondHop|GSSAPINoTicket|GSSAPIManyAtOnce|ProxyChain|ForwardAgent|Master|Transports)$"

func TestSSHDOrdinaryUser(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		return // these tests run unprivileged already
	}
	sshdtest.Accounts(t)
	account, err := user.Lookup(sshdtest.Bob)
	if err != nil {
		t.Fatal(err)
	}
	uid, _ := strconv.Atoi(account.Uid)
	gid, _ := strconv.Atoi(account.Gid)
	dir := sshdtest.SharedDir(t)
	binary := filepath.Join(dir, "fleetssh.test") // readable by that account
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	sshdtest.WriteProgram(t, binary, string(self))
	home := filepath.Join(dir, "home")
	if err := os.Mkdir(home, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(home, uid, gid); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary, "-test.run="+ordinary, "-test.v", "-test.timeout=5m")
	cmd.Dir = home
	cmd.Env = []string{"HOME=" + home, "TMPDIR=" + home, "USER=" + account.Username, "PATH=" + os.Getenv("PATH")}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	fleettest.Equal(t, "tests that passed", strings.Count(string(out), "\n--- PASS: "), strings.Count(ordinary, "|")+1)
}
