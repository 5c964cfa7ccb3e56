//go:build unix

package login

import (
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"fleetssh"
	"fleetssh/internal/fleettest"
	"fleetssh/internal/sshdtest"
)

// A host with a running master is reached over the master's connection, without credentials and
// without a login.
func TestSSHDMaster(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	s := sshdtest.Start(t, sshdtest.Options{})
	user := sshdtest.CurrentUser(t)
	key := sshdtest.NewKey(t, sshdtest.KindED25519)
	s.Authorize(t, user, key.Public())
	dir := sshdtest.SharedDir(t)
	process, stop := fleettest.StartMaster(t, s, dir+"/%C", key)
	s.Logged(t, 1, "Accepted publickey")

	// There is no key and no known host: only the master gives access.
	host := fleettest.HostConfig(t, s, user, fleetssh.Auth{NoAgent: true, NoDefaultKeys: true})
	host.HostKeys = fleettest.Trust(t)
	host.Attempts, host.KeepAlive = 1, 2*time.Second
	fleettest.DialFails[*fleetssh.HostKeyError](t, host)
	host.ControlPath = dir + "/%C"
	c := fleettest.Dial(t, host)
	login := c.Logins()[0]
	fleettest.Contains(t, login.Master, dir)
	fleettest.Equal(t, "output", fleettest.Output(t, c, "echo hello"), "hello\n")
	s.Logged(t, 1, "Accepted publickey")

	t.Run("streams, environment and exit code", func(t *testing.T) {
		out, stdout, stderr, err := fleettest.RunCommand(t, c, fleetssh.Command{Line: "cat; echo $A >&2; exit 3", Stdin: strings.NewReader("in"), Env: map[string]string{"A": "b c"}})
		fleettest.Equal(t, "stdout", stdout, "in")
		fleettest.Equal(t, "stderr", stderr, "b c\n")
		fleettest.Equal(t, "code", fleettest.AsError[*fleetssh.ExitError](t, err).Code, 3)
		fleettest.Equal(t, "outcome", out.Outcome().Kind, fleetssh.Exited)
		if os.Geteuid() != 0 {
			return // an unprivileged sshd may refuse pty requests
		}
		_, stdout, _, err = fleettest.RunCommand(t, c, fleetssh.Command{Line: "tty", PTY: &fleetssh.PTY{}})
		fleettest.Contains(t, stdout, "/dev/pts/")
		if err != nil {
			t.Error(err)
		}
	})
	t.Run("much output", func(t *testing.T) {
		_, stdout, _, err := fleettest.RunCommand(t, c, fleetssh.Command{Line: "head -c 30000000 /dev/zero"})
		fleettest.Equal(t, "bytes", len(stdout), 30000000)
		if err != nil {
			t.Error(err)
		}
	})
	t.Run("many sessions", func(t *testing.T) {
		p := fleettest.NewFleet(t, host, host, host, host)
		for range 5 {
			if _, err := p.RunCommand(fleettest.Soon(t), fleetssh.Command{Line: "echo $PPID"}); err != nil {
				t.Fatal(err)
			}
			if err := p.Join(fleettest.Soon(t), nil); err != nil {
				t.Fatal(err)
			}
		}
		s.Logged(t, 1, "Accepted publickey")
	})
	t.Run("as a hop", func(t *testing.T) {
		target, last := fleettest.StartSSHD(t, sshdtest.Options{})
		last.Proxy = &host
		fleettest.Equal(t, "output", fleettest.Output(t, fleettest.Dial(t, last), "echo behind"), "behind\n")
		target.Logged(t, 1, "Accepted publickey")
		s.Logged(t, 1, "Accepted publickey")
	})
	t.Run("silent for longer than the keep-alive", func(t *testing.T) {
		out := fleettest.Start(t, c, fleetssh.Command{Line: "sleep 9; echo done"})
		if err := out.WaitFinished(fleettest.Soon(t)); err != nil {
			t.Error(err)
		}
		fleettest.Equal(t, "output", fleettest.Text(t, out.Stdout), "done\n")
	})
	t.Run("stopped master", func(t *testing.T) {
		if testing.Short() {
			return
		}
		process.Signal(syscall.SIGSTOP)
		defer process.Signal(syscall.SIGCONT)
		own, key := host, sshdtest.NewKey(t, sshdtest.KindED25519)
		own.Auth.Signers = []ssh.Signer{key.Signer}
		own.HostKeys = fleettest.Trust(t, fleettest.KnownLines(s.Address(), fleettest.KeysOf(s)...)...)
		// The client waits this long for the master, and the direct login then has the same time
		// again.
		own.ConnectTimeout = fleettest.Lapse
		e := fleettest.DialFails[*fleetssh.AuthenticationError](t, own)
		fleettest.Equal(t, "tried", strings.Join(e.Tried, " "), "publickey")
	})
	t.Run("ended master", func(t *testing.T) {
		out := fleettest.Start(t, c, fleetssh.Command{Line: "sleep 60"})
		stop()
		e := fleettest.AsError[*fleetssh.ConnectionError](t, out.WaitFinished(fleettest.Soon(t)))
		fleettest.Equal(t, "phase", e.Phase, "run")
		fleettest.Equal(t, "outcome", out.Outcome().Kind, fleetssh.Lost)
		// Without a master, the client connects to the host directly.
		fleettest.DialFails[*fleetssh.HostKeyError](t, host)
		direct := fleettest.HostConfig(t, s, user, fleetssh.Auth{Signers: []ssh.Signer{key.Signer}})
		direct.ControlPath = host.ControlPath
		fleettest.Equal(t, "master", fleettest.Dial(t, direct).Logins()[0].Master, "")
		s.Logged(t, 2, "Accepted publickey")
	})
}

// On a master's connection, sshd has also started the commands of other clients, and Stop must not
// stop these.
func TestSSHDStopBesideMaster(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	s := sshdtest.Start(t, sshdtest.Options{})
	user := sshdtest.CurrentUser(t)
	key := sshdtest.NewKey(t, sshdtest.KindED25519)
	s.Authorize(t, user, key.Public())
	dir := sshdtest.SharedDir(t)
	fleettest.StartMaster(t, s, dir+"/%C", key)
	host := fleettest.HostConfig(t, s, user, fleetssh.Auth{NoAgent: true, NoDefaultKeys: true})
	host.ControlPath = dir + "/%C"
	ours, others := fleettest.Dial(t, host), fleettest.Dial(t, host)
	bystander := sshdtest.Marker()
	defer sshdtest.Kill(bystander)
	other := fleettest.Start(t, others, fleetssh.Command{Line: "sleep " + bystander})
	fleettest.Running(t, bystander, true)
	for range 3 {
		// The command has often ended by the time Stop looks for its process.
		out := fleettest.Start(t, ours, fleetssh.Command{Line: "sleep 0.02"})
		out.Stop(fleettest.Soon(t))
	}
	fleettest.Equal(t, "the other client's command has finished", other.Finished(), false)
	fleettest.Running(t, bystander, true)
}
