package login

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"fleetssh"
	"fleetssh/internal/fleettest"
	"fleetssh/internal/sshdtest"
)

// chain returns the last host, with the others as hops in front of it.
func chain(hosts ...fleetssh.HostConfig) fleetssh.HostConfig {
	for i := 1; i < len(hosts); i++ {
		hosts[i].Proxy = &hosts[i-1]
	}
	return hosts[len(hosts)-1]
}

func TestSSHDProxyChain(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	var servers []*sshdtest.Server
	var hosts []fleetssh.HostConfig
	for range 4 { // each has its own host keys and accepts another user key
		s, host := fleettest.StartSSHD(t, sshdtest.Options{})
		servers, hosts = append(servers, s), append(hosts, host)
	}
	for hops := 1; hops < len(hosts); hops++ {
		t.Run(fmt.Sprintf("%d hops", hops), func(t *testing.T) {
			host := chain(append([]fleetssh.HostConfig{}, hosts[:hops+1]...)...)
			c := fleettest.Dial(t, host)
			fleettest.Equal(t, "output", fleettest.Output(t, c, "echo ${SSH_CONNECTION##* }"), fmt.Sprintln(host.Port))
			// All data passes in both directions.
			ch, err := c.Execute(fleettest.Soon(t), "cat")
			if err != nil {
				t.Fatal(err)
			}
			const size = 8 << 20
			go func() {
				io.Copy(ch.Stdin, io.LimitReader(fleettest.Zeros{}, size))
				ch.Stdin.Close()
			}()
			fleettest.Equal(t, "bytes", len(fleettest.Text(t, ch.Stdout)), size)
			if err := ch.WaitFinished(fleettest.Soon(t)); err != nil {
				t.Error(err)
			}
			logins := c.Logins()
			fleettest.Equal(t, "logins", len(logins), hops+1)
			for i, l := range logins {
				fleettest.Equal(t, "port", l.Host.Port, hosts[i].Port)
				fleettest.Equal(t, "key", ssh.FingerprintSHA256(l.Key), ssh.FingerprintSHA256(hosts[i].Auth.Signers[0].PublicKey()))
				same := func(k ssh.PublicKey) bool { return string(k.Marshal()) == string(l.HostKey.Marshal()) }
				fleettest.Equal(t, "host key is one of the server's", slices.ContainsFunc(fleettest.KeysOf(servers[i]), same), true)
			}
		})
	}
}

// Two hundred hosts need one login at their hop.
func TestSSHDProxyShared(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	const n = 200
	hopServer, hop := fleettest.StartSSHD(t, sshdtest.Options{})
	s, hosts := fleettest.SSHDFleet(t, n)
	p := &fleetssh.ParallelClient{Hosts: fleettest.Behind(&hop, hosts...), PoolSize: n}
	defer p.Close()
	for range 2 {
		outs, err := p.RunCommand(fleettest.Soon(t), fleetssh.Command{Line: "echo $SSH_CONNECTION"})
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Join(fleettest.Soon(t), nil); err != nil {
			t.Fatal(err)
		}
		for i, out := range outs {
			fleettest.Contains(t, fleettest.Text(t, out.Stdout), fmt.Sprintf(" %s %d\n", hosts[i].Host, s.Port))
		}
	}
	hopServer.Logged(t, 1, "Accepted publickey")
	s.Logged(t, n, "Accepted publickey")
}

// Refusals by an sshd as a hop are told apart from refusals by the host behind it.
func TestSSHDProxyRefusals(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	_, open := fleettest.StartSSHD(t, sshdtest.Options{})
	_, closed := fleettest.StartSSHD(t, sshdtest.Options{Config: []string{"AllowTcpForwarding no"}})
	target, host := fleettest.StartSSHD(t, sshdtest.Options{})
	_, permit := fleettest.StartSSHD(t, sshdtest.Options{Config: []string{"PermitOpen 127.0.0.1:1"}})
	with := func(h fleetssh.HostConfig, hop *fleetssh.HostConfig) fleetssh.HostConfig {
		h.Proxy, h.Attempts = hop, 1
		return h
	}
	for _, hop := range []*fleetssh.HostConfig{&closed, &permit} {
		e := fleettest.DialFails[*fleetssh.ProxyError](t, with(host, hop))
		fleettest.Equal(t, "hop", e.Hop, "127.0.0.1")
		fleettest.Contains(t, e.Error(), "does not forward connections to 127.0.0.1:", "open failed")
	}
	closedPort := host
	closedPort.Port = 1
	c := fleettest.DialFails[*fleetssh.ConnectionError](t, with(closedPort, &open))
	fleettest.Equal(t, "phase", c.Phase, "connect")
	fleettest.Contains(t, c.Error(), "connect 127.0.0.1:1: Connection refused")
	unknown := host
	unknown.Host = "nosuch.invalid"
	u := fleettest.DialFails[*fleetssh.UnknownHostError](t, with(unknown, &open))
	fleettest.Contains(t, u.Error(), "resolve nosuch.invalid: ")
	wrong := host
	wrong.Auth.Signers = []ssh.Signer{sshdtest.NewKey(t, sshdtest.KindED25519).Signer}
	a := fleettest.DialFails[*fleetssh.AuthenticationError](t, with(wrong, &open))
	fleettest.Equal(t, "port", a.Port, target.Port)
	stranger := host
	stranger.HostKeys = fleettest.Trust(t)
	k := fleettest.DialFails[*fleetssh.HostKeyError](t, with(stranger, &open))
	fleettest.Equal(t, "port", k.Port, target.Port)
	resume := pause(target)
	defer resume()
	silent := host
	silent.ConnectTimeout = fleettest.Lapse
	e := fleettest.DialFails[*fleetssh.TimeoutError](t, with(silent, &open))
	fleettest.Equal(t, "port", e.Port, target.Port)
}

// pause stops the processes of a server until resume is called.
func pause(s *sshdtest.Server) (resume func()) {
	s.Pause()
	return s.Resume
}

// A connection to a hop in the middle of a chain is killed while commands run.
func TestSSHDProxyKilled(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	var servers []*sshdtest.Server
	var hosts []fleetssh.HostConfig
	for range 3 {
		s, host := fleettest.StartSSHD(t, sshdtest.Options{})
		host.Attempts = 3
		servers, hosts = append(servers, s), append(hosts, host)
	}
	marker := sshdtest.Marker()
	t.Cleanup(func() { sshdtest.Kill(marker) })
	p := &fleetssh.ParallelClient{Hosts: []fleetssh.HostConfig{chain(hosts...), chain(hosts...), chain(hosts[:2]...)}}
	defer p.Close()
	for round, victim := range []int{0, 1, 0, 1} {
		outs, err := p.RunCommand(fleettest.Soon(t), fleetssh.Command{Line: "echo up; exec sleep " + marker})
		if err != nil {
			t.Fatal(err)
		}
		for _, out := range outs {
			fleettest.Equal(t, "first line", firstLine(t, out), "up")
		}
		servers[victim].KillConnections()
		for i, out := range outs {
			e := fleettest.AsError[*fleetssh.ConnectionError](t, out.WaitFinished(fleettest.Soon(t)))
			fleettest.Equal(t, "outcome", out.Outcome().Kind, fleetssh.Lost)
			fleettest.Equal(t, "phase", e.Phase, "run")
			if i < 2 {
				fleettest.Contains(t, e.Error(), "connection lost: the connection to the hop")
			}
		}
		if round == 3 {
			break
		}
	}
	// The connection to the first hop was lost in two of the four rounds, and made again each time.
	servers[0].Logged(t, 3, "Accepted publickey")
	servers[1].Stop()
	if _, err := p.RunCommand(fleettest.Soon(t), fleetssh.Command{Line: "true"}); err == nil {
		t.Fatal("a command ran behind a hop that was stopped")
	} else {
		failed := fleettest.AsError[*fleetssh.HostsError](t, err)
		fleettest.Equal(t, "failed", len(failed.Failed), 3)
		fleettest.Equal(t, "hop", fleettest.AsError[*fleetssh.ProxyError](t, failed.Failed[0].Err).Hop, "127.0.0.1")
		fleettest.AsError[*fleetssh.ConnectionError](t, failed.Failed[2].Err)
		if fleettest.Is[*fleetssh.ProxyError](failed.Failed[2].Err) {
			t.Error("the failure of the stopped host itself is attributed to its hop")
		}
	}
}

func firstLine(t testing.TB, out *fleetssh.HostOutput) string {
	t.Helper()
	for line, err := range out.Stdout.Lines(fleettest.Soon(t)) {
		if err != nil {
			t.Fatal(err)
		}
		return line
	}
	return ""
}

// All hosts log in at a hop with a small MaxStartups, because the client opens connections more
// slowly after sshd has dropped some.
func TestSSHDProxyMaxStartups(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	s, hop := fleettest.StartSSHD(t, sshdtest.Options{Config: []string{"MaxStartups 2"}})
	target, host := fleettest.StartSSHD(t, sshdtest.Options{})
	hop.Attempts, hop.RetryDelay = 4, 100*time.Millisecond
	hosts := make([]fleetssh.HostConfig, 30)
	for i := range hosts {
		own := hop // a separate login at the hop for each host
		hosts[i] = host
		hosts[i].Proxy = &own
	}
	p := &fleetssh.ParallelClient{Hosts: hosts}
	defer p.Close()
	if err := p.Connect(fleettest.Soon(t)); err != nil {
		t.Fatal(err)
	}
	s.Logged(t, 30, "Accepted publickey")
	target.Logged(t, 30, "Accepted publickey")
	if dropped := strings.Count(s.Log(), "drop connection"); dropped > 60 {
		t.Errorf("%d connections dropped for 30 logins", dropped)
	}
}

// The hop and the host have different accounts and credentials.
func TestSSHDProxyOwnLogins(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	hopServer, hop, password := fleettest.AccountSSHD(t, sshdtest.Alice, sshdtest.Options{})
	target, host, _ := fleettest.AccountSSHD(t, sshdtest.Bob, sshdtest.Options{})
	hop.Auth = fleetssh.Auth{Password: password, NoAgent: true, NoDefaultKeys: true}
	host.Proxy = &hop
	c := fleettest.Dial(t, host)
	fleettest.Equal(t, "user", fleettest.Output(t, c, "id -un"), sshdtest.Bob+"\n")
	hopServer.Logged(t, 1, "Accepted password for "+sshdtest.Alice)
	target.Logged(t, 1, "Accepted publickey for "+sshdtest.Bob)
	fleettest.Equal(t, "method", c.Logins()[0].Methods[0], "password")
}
