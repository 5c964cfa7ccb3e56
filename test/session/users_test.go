package session

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"fleetssh"
	"fleetssh/internal/fleettest"
	"fleetssh/internal/simfleet"
	"fleetssh/internal/sshdtest"
)

// caller holds a connection through a tunnel.
type caller struct {
	t    testing.TB
	conn net.Conn
}

// call opens a tunnel of p to an echo server and holds a connection through it.
func call(t testing.TB, p *fleetssh.ParallelClient) caller {
	t.Helper()
	tunnels, err := p.ForwardLocal(fleettest.Soon(t), "0", fleettest.Answering(t, "tcp", fleettest.Echoing))
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", tunnels[0].Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	c := caller{t, conn}
	c.talks("before")
	return c
}

// talks expects the connection to work.
func (c caller) talks(when string) {
	c.t.Helper()
	c.conn.SetDeadline(time.Now().Add(fleettest.Patience))
	got := make([]byte, len(when))
	if _, err := io.WriteString(c.conn, when); err != nil {
		c.t.Fatalf("%s: %v", when, err)
	}
	if _, err := io.ReadFull(c.conn, got); err != nil || string(got) != when {
		c.t.Fatalf("%s: the tunnel answered %q, %v", when, got, err)
	}
}

// A command whose end the host does not confirm makes its connection suspect. The next command
// gets a new one, and current users keep the old one.
func TestUnconfirmedStopLeavesTunnel(t *testing.T) {
	t.Parallel()
	s := fleettest.NewHop(t, func(h *simfleet.Host) { h.Fault.Kind = simfleet.IgnoreSignals })
	p := fleettest.NewFleet(t, s.Config())
	held := call(t, p)
	for out := range finished(t, p, fleetssh.Command{Line: "sleep 1000", Timeout: 50 * time.Millisecond}) {
		fleettest.Equal(t, "outcome", out.Outcome(), fleetssh.Outcome{Kind: fleetssh.TimedOut})
	}
	held.talks("after the stop")
	for out := range finished(t, p, fleetssh.Command{Line: "echo next"}) {
		fleettest.Equal(t, "outcome", out.Outcome(), fleetssh.Outcome{Kind: fleetssh.Exited})
	}
	held.talks("after the next command")
	fleettest.Equal(t, "logins", s.Stats().Logins, 2)
	fleettest.Equal(t, "connections", s.Stats().Open, 2)
	held.conn.Close()
	fleettest.Eventually(t, "the end of the old connection", func() bool { return s.Stats().Open == 1 })
}

// finished yields the outputs of a Stream.
func finished(t testing.TB, p *fleetssh.ParallelClient, cmd fleetssh.Command) func(func(*fleetssh.HostOutput) bool) {
	t.Helper()
	events, err := p.Stream(fleettest.Soon(t), cmd)
	if err != nil {
		t.Fatal(err)
	}
	return func(yield func(*fleetssh.HostOutput) bool) {
		for ev := range events {
			if ev.Kind == fleetssh.Finished && !yield(ev.Output) {
				return
			}
		}
	}
}

// unansweringHost starts a host that never answers a request to run "unanswered". Every other
// command writes its command line and waits for the end of its input.
func unansweringHost(t testing.TB) fleetssh.HostConfig {
	t.Helper()
	host := fleettest.Hostile(t, func(_ ssh.Conn, channels <-chan ssh.NewChannel) {
		for newChannel := range channels {
			ch, requests, err := newChannel.Accept()
			if err != nil {
				return
			}
			go func() {
				defer ch.Close()
				for req := range requests {
					var command struct{ Line string }
					if req.Type != "exec" || ssh.Unmarshal(req.Payload, &command) != nil {
						req.Reply(false, nil)
						continue
					}
					if command.Line == "unanswered" {
						continue
					}
					req.Reply(true, nil)
					go func() {
						fmt.Fprintln(ch, command.Line)
						io.Copy(io.Discard, ch)
						ch.SendRequest("exit-status", false, ssh.Marshal(struct{ Code uint32 }{0}))
						ch.Close()
					}()
				}
			}()
		}
	})
	host.ConnectTimeout = fleettest.Lapse
	return host
}

// A command that does not start in time has the same effect.
func TestLateStartLeavesCommand(t *testing.T) {
	t.Parallel()
	p := fleettest.NewFleet(t, unansweringHost(t))
	first, err := p.RunCommand(fleettest.Soon(t), fleetssh.Command{Line: "first", OpenStdin: true})
	if err != nil {
		t.Fatal(err)
	}
	_, err = p.RunCommand(fleettest.Soon(t), fleetssh.Command{Line: "unanswered"})
	fleettest.Equal(t, "phase", fleettest.AsError[*fleetssh.TimeoutError](t, err).Phase, "exec")
	next, err := p.RunCommand(fleettest.Soon(t), fleetssh.Command{Line: "next"})
	if err != nil {
		t.Fatal(err)
	}
	fleettest.Equal(t, "first finished", first[0].Finished(), false)
	if err := p.Join(fleettest.Soon(t), append(first, next...)); err != nil {
		t.Error(err)
	}
	fleettest.Equal(t, "output", fleettest.Text(t, first[0].Stdout)+fleettest.Text(t, next[0].Stdout), "first\nnext\n")
}

// OneShot closes a connection when its last user has left it, and not before.
func TestOneShotTogether(t *testing.T) {
	t.Parallel()
	s := fleettest.NewServer(t, nil)
	p := fleettest.NewFleet(t, s.Config())
	p.OneShot = true
	if err := p.Connect(fleettest.Soon(t)); err != nil {
		t.Fatal(err)
	}
	outs, err := p.RunCommand(fleettest.Soon(t), fleetssh.Command{Line: "cat", OpenStdin: true})
	if err != nil {
		t.Fatal(err)
	}
	for out := range finished(t, p, fleetssh.Command{Line: "echo beside"}) {
		fleettest.Equal(t, "beside", out.Outcome(), fleetssh.Outcome{Kind: fleetssh.Exited})
	}
	if _, err := io.WriteString(outs[0].Stdin, "still here"); err != nil {
		t.Fatal(err)
	}
	if err := p.Join(fleettest.Soon(t), outs); err != nil {
		t.Error(err)
	}
	fleettest.Equal(t, "output", fleettest.Text(t, outs[0].Stdout), "still here")
	fleettest.Eventually(t, "the end of both connections", func() bool { return s.Stats().Open == 0 })
}

// Stopping a command of root never ends the SFTP server of a copy on the same connection, not
// even if the command has just ended by itself.
func TestSSHDStopBesideCopy(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	c := fleettest.Dial(t, stopServer(t, "root"))
	local := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(local, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	busy, goOn := make(chan struct{}), make(chan struct{})
	var once sync.Once
	copied := make(chan error, 1)
	go func() {
		_, err := c.Upload(fleettest.Soon(t), local, filepath.Join(t.TempDir(), "copy"), &fleetssh.CopyOptions{Progress: func(fleetssh.CopyProgress) {
			once.Do(func() {
				close(busy)
				<-goOn
			})
		}})
		copied <- err
	}()
	<-busy
	for range 5 {
		// The command ends when told to stop, and leaves the SFTP server as the only process.
		out := fleettest.Start(t, c, fleetssh.Command{Line: "sleep 0.01"})
		out.Stop(fleettest.Soon(t))
	}
	marker := sshdtest.Marker()
	out := fleettest.Start(t, c, fleetssh.Command{Line: "sleep " + marker})
	out.Stop(fleettest.Soon(t))
	fleettest.Equal(t, "said to be stopped and is not", out.Outcome().Stopped && len(sshdtest.Processes(marker)) > 0, false)
	sshdtest.Kill(marker)
	close(goOn)
	if err := <-copied; err != nil {
		t.Error(err)
	}
}

// While the library searches a host's processes for one to stop, it starts no other there.
func TestSSHDStopKeepsOthersWaiting(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	c := fleettest.Dial(t, stopServer(t, "root"))
	for range 3 {
		marker := sshdtest.Marker()
		out := fleettest.Start(t, c, fleetssh.Command{Line: "sleep " + marker})
		stopped := make(chan error, 1)
		go func() { stopped <- out.Stop(fleettest.Soon(t)) }()
		bystander := sshdtest.Marker()
		other := fleettest.Start(t, c, fleetssh.Command{Line: "sleep " + bystander})
		<-stopped
		fleettest.Equal(t, "said to be stopped and is not", out.Outcome().Stopped && len(sshdtest.Processes(marker)) > 0, false)
		fleettest.Running(t, bystander, true)
		fleettest.Equal(t, "bystander finished", other.Finished(), false)
		sshdtest.Kill(marker, bystander)
		other.WaitFinished(fleettest.Soon(t))
	}
}

// operations are the calls during which a client may be closed. run returns the error of the
// hosts that were not reached.
var operations = []struct {
	name string
	run  func(ctx context.Context, t *testing.T, p *fleetssh.ParallelClient) error
}{
	{"Connect", func(ctx context.Context, _ *testing.T, p *fleetssh.ParallelClient) error { return p.Connect(ctx) }},
	{"RunCommand", func(ctx context.Context, _ *testing.T, p *fleetssh.ParallelClient) error {
		_, err := p.RunCommand(ctx, fleetssh.Command{Line: "true"})
		return err
	}},
	{"Stream", func(ctx context.Context, t *testing.T, p *fleetssh.ParallelClient) error {
		events, err := p.Stream(ctx, fleetssh.Command{Line: "true"})
		if err != nil {
			return err
		}
		n := 0
		for ev := range events {
			if ev.Kind == fleetssh.Finished {
				n++
				err = ev.Output.Err
			}
		}
		fleettest.Equal(t, "hosts that have finished", n, 4)
		return err
	}},
	{"Upload", func(ctx context.Context, _ *testing.T, p *fleetssh.ParallelClient) error {
		_, err := p.Upload(ctx, "users_test.go", "there", nil)
		return err
	}},
	{"OpenShells", func(ctx context.Context, _ *testing.T, p *fleetssh.ParallelClient) error {
		_, err := p.OpenShells(ctx)
		return err
	}},
	{"OpenConsoles", func(ctx context.Context, _ *testing.T, p *fleetssh.ParallelClient) error {
		_, err := p.OpenConsoles(ctx)
		return err
	}},
	{"ForwardLocal", func(ctx context.Context, _ *testing.T, p *fleetssh.ParallelClient) error {
		_, err := p.ForwardLocal(ctx, "0", "9100")
		return err
	}},
	{"ForwardRemote", func(ctx context.Context, _ *testing.T, p *fleetssh.ParallelClient) error {
		_, err := p.ForwardRemote(ctx, "0", "9100")
		return err
	}},
	{"ForwardProxy", func(ctx context.Context, _ *testing.T, p *fleetssh.ParallelClient) error {
		_, err := p.ForwardProxy(ctx, "0")
		return err
	}},
	{"ScanHostKeys", func(ctx context.Context, _ *testing.T, p *fleetssh.ParallelClient) error {
		keys, err := p.ScanHostKeys(ctx)
		if err != nil {
			return err
		}
		for shown := range keys {
			err = shown.Err
		}
		return err
	}},
}

// After Close, and after SetHosts for removed hosts, no login and no connection remains open,
// whatever call was in progress.
func TestCloseDuringCall(t *testing.T) {
	t.Parallel()
	for _, test := range operations {
		for _, way := range []struct {
			name string
			do   func(*fleetssh.ParallelClient)
		}{
			{"Close", func(p *fleetssh.ParallelClient) { p.Close() }},
			{"SetHosts", func(p *fleetssh.ParallelClient) { p.SetHosts(nil) }},
		} {
			t.Run(test.name+" and "+way.name, func(t *testing.T) {
				t.Parallel()
				fleet, hosts := fleettest.Simulated(t, 4, func(i int, h *simfleet.Host) {
					if i == 0 {
						h.Fault.Kind = simfleet.StallKex
					}
				})
				near, far := fleettest.NewHop(t, nil), fleettest.NewHop(t, nil)
				first, second := far.Config(), near.Config()
				second.Proxy = &first
				hosts[2].Proxy, hosts[3].Proxy = &first, &second
				p := fleettest.NewFleet(t, hosts...)
				p.PoolSize = 1
				done := make(chan error, 1)
				go func() { done <- test.run(fleettest.Soon(t), t, p) }()
				slow := fleet.Servers[0]
				fleettest.Eventually(t, "the first host", func() bool { return slow.Stats().Connections == 1 })
				way.do(p)
				if err := <-done; err == nil {
					t.Error("no error")
				}
				fleettest.Eventually(t, "the end of the connections", func() bool {
					open := near.Stats().Open + far.Stats().Open
					for _, s := range fleet.Servers {
						open += s.Stats().Open
					}
					return open == 0
				})
				for i, s := range append(fleet.Servers, near.Server, far.Server) {
					if st := s.Stats(); st.Logins > 0 || i > 0 && st.Connections > 0 {
						t.Errorf("host %d: %d connections, %d logins", i, st.Connections, st.Logins)
					}
				}
			})
		}
	}
}

// Background work ends with its host: a tunnel does not log in for its next caller, nor to
// listen again.
func TestSetHostsEndsTunnels(t *testing.T) {
	t.Parallel()
	sshdtest.CheckLeaks(t)
	_, host := fleettest.StartSSHD(t, sshdtest.Options{})
	_, other := fleettest.StartSSHD(t, sshdtest.Options{})
	p := fleettest.NewFleet(t, host, other)
	target := fleettest.Answering(t, "tcp", fleettest.Summing)
	local, err := p.ForwardLocal(fleettest.Soon(t), "0", target)
	if err != nil {
		t.Fatal(err)
	}
	remote, err := p.ForwardRemote(fleettest.Soon(t), "0", target)
	if err != nil {
		t.Fatal(err)
	}
	p.SetHosts([]fleetssh.HostConfig{other})
	for _, tunnel := range []*fleetssh.Tunnel{local[0], remote[0]} {
		fleettest.Equal(t, "phase", fleettest.AsError[*fleetssh.ConnectionError](t, tunnel.Wait()).Phase, "forward")
	}
	if conn, err := net.Dial("tcp", local[0].Addr().String()); err == nil {
		conn.Close()
		t.Error("the tunnel of a removed host still listens")
	}
	fleettest.Works(t, local[1])
	fleettest.Works(t, remote[1])
}

// An unused hop is disconnected, also when hosts were connecting through it.
func TestSetHostsDuringLoginAtHop(t *testing.T) {
	t.Parallel()
	near := fleettest.NewHop(t, func(h *simfleet.Host) { h.Fault.Kind = simfleet.StallAuth })
	far := fleettest.NewHop(t, nil)
	first := far.Config()
	second := near.Config()
	second.Proxy = &first
	host := fleettest.NewServer(t, nil).Config()
	host.Proxy = &second
	p := fleettest.NewFleet(t, host, host, host)
	done := make(chan error, 1)
	go func() { done <- p.Connect(fleettest.Soon(t)) }()
	fleettest.Eventually(t, "the login at the second hop", func() bool { return near.Stats().Connections == 1 })
	p.SetHosts(nil)
	if err := <-done; err == nil {
		t.Error("no error")
	}
	fleettest.Eventually(t, "the end of the connections", func() bool { return near.Stats().Open+far.Stats().Open == 0 })
	fleettest.Equal(t, "logins", near.Stats().Logins, 0)
}

// The cost of one host does not grow with the others: their settings are checked only once.
func TestClientCost(t *testing.T) {
	allocations := func(n int) float64 {
		hosts := make([]fleetssh.HostConfig, n)
		for i := range hosts {
			hosts[i] = fleetssh.HostConfig{Host: fmt.Sprint("web", i), ControlPath: "~/.ssh/%C", Proxy: &fleetssh.HostConfig{Host: fmt.Sprint("hop", i)}}
		}
		p := fleettest.NewFleet(t, hosts...)
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		i := 0
		return testing.AllocsPerRun(5, func() {
			p.Client(ended, i%n)
			i++
		})
	}
	if few, many := allocations(10), allocations(2000); many > few+5 {
		t.Errorf("%v allocations with 10 hosts, %v with 2,000", few, many)
	}
}

func BenchmarkClient(b *testing.B) {
	for _, n := range []int{10, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			hosts := make([]fleetssh.HostConfig, n)
			for i := range hosts {
				hosts[i] = fleetssh.HostConfig{Host: fmt.Sprint("web", i), ControlPath: "~/.ssh/%C"}
			}
			p := fleettest.NewFleet(b, hosts...)
			ended, cancel := context.WithCancel(b.Context())
			cancel()
			p.Client(ended, 0)
			for i := 0; b.Loop(); i++ {
				p.Client(ended, i%n)
			}
		})
	}
}

// A host that does not answer does not delay the others or their input.
func TestStdinBesideSilentHost(t *testing.T) {
	t.Parallel()
	fleet, hosts := fleettest.Simulated(t, 2, func(i int, h *simfleet.Host) {
		if i == 1 {
			h.Fault.Kind = simfleet.StallKex
		}
	})
	for i := range hosts {
		hosts[i].ConnectTimeout = 2 * fleettest.Patience
	}
	p := fleettest.NewFleet(t, hosts...)
	in, out := io.Pipe()
	go func() { io.WriteString(out, "12345"); out.Close() }()
	events, err := p.Stream(fleettest.Soon(t), fleetssh.Command{Line: "wc -c", Stdin: in})
	if err != nil {
		t.Fatal(err)
	}
	outcomes := ""
	for ev := range events {
		switch ev.Kind {
		case fleetssh.StdoutLine:
			fleettest.Equal(t, "output", ev.Text, "5")
		case fleetssh.Finished:
			outcomes += fmt.Sprintf("%d %v\n", ev.Index, ev.Output.Outcome().Kind)
			fleet.Servers[1].Close() // the silent host ends only now
		}
	}
	fleettest.Equal(t, "outcomes", outcomes, "0 exited\n1 unreachable\n")
}

// A run that reached no host does not count as a success.
func TestJoinAfterRefusedRun(t *testing.T) {
	t.Parallel()
	_, hosts := fleettest.Simulated(t, 2, nil)
	p := fleettest.NewFleet(t, hosts...)
	if _, err := p.RunCommand(fleettest.Soon(t), fleetssh.Command{Line: "true"}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		outs, refused := p.RunCommand(fleettest.Soon(t), fleetssh.Command{Line: "echo %s", HostArgs: []fleetssh.Args{{List: []string{"x"}}}})
		fleettest.AsError[*fleetssh.HostArgumentError](t, refused)
		fleettest.Equal(t, "error of Join", p.Join(fleettest.Soon(t), outs), refused)
		fleettest.Equal(t, "last outputs", len(p.LastOutput()), 0)
	}
	outs, err := p.RunCommand(fleettest.Soon(t), fleetssh.Command{Line: "true"})
	if err != nil {
		t.Fatal(err)
	}
	fleettest.Equal(t, "error of Join after a good run", p.Join(fleettest.Soon(t), nil), nil)
	fleettest.Equal(t, "error of Join with outputs", p.Join(fleettest.Soon(t), outs), nil)
	p.Close()
	outs, refused := p.RunCommand(fleettest.Soon(t), fleetssh.Command{Line: "true"})
	fleettest.AsError[*fleetssh.ConnectionError](t, refused)
	fleettest.Equal(t, "error of Join after Close", p.Join(fleettest.Soon(t), outs), refused)
}
